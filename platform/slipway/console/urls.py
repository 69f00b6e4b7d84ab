"""The console's pages."""

from __future__ import annotations

from django.urls import path, re_path

from slipway.console.views import (
    audit,
    containers,
    dashboard,
    images,
    jobs,
    logs,
    nodes,
    profile,
    project_settings,
    projects,
    recipes,
    registries,
    teams,
    tokens,
    transfers,
    usage,
)

IN_PROJECT = "projects/<slug:team>/<slug:slug>"
CONTAINER = r"^containers/(?P<container_id>[0-9a-f]{64})"

urlpatterns = [
    path("", dashboard.home, name="home"),
    path("palette", dashboard.palette, name="palette"),
    path("account/", profile.profile, name="profile"),
    path("account/sessions/", profile.session_list, name="sessions"),
    path("account/sessions/others/end", profile.sessions_end, name="sessions-end"),
    path("account/sessions/<str:session_id>/end", profile.session_end, name="session-end"),
    path("invitation/open", teams.invitation_open, name="invitation-open"),
    path("invitation/", teams.invitation, name="invitation"),
    path("teams/", teams.team_list, name="teams"),
    path("teams/new", projects.team_new, name="team-new"),
    path("teams/<slug:slug>/", teams.team, name="team"),
    path("teams/<slug:slug>/members", teams.member_set, name="member-set"),
    path("teams/<slug:slug>/members/<str:username>/remove", teams.member_remove, name="member-remove"),
    path("teams/<slug:slug>/invite", teams.invite, name="invite"),
    path(
        "teams/<slug:slug>/invitations/<str:invitation_id>/withdraw",
        teams.invitation_withdraw,
        name="invitation-withdraw",
    ),
    path("teams/<slug:slug>/settings", teams.team_change, name="team-change"),
    path("teams/<slug:slug>/transfer", teams.team_transfer, name="team-transfer"),
    path("teams/<slug:slug>/delete", teams.team_delete, name="team-delete"),
    path("projects/", projects.project_list, name="projects"),
    path("projects/new", projects.project_new, name="project-new"),
    path(f"{IN_PROJECT}/", projects.project, name="project"),
    path(f"{IN_PROJECT}/settings", project_settings.settings, name="project-settings"),
    path(f"{IN_PROJECT}/settings/members", project_settings.member_set, name="project-member-set"),
    path(
        f"{IN_PROJECT}/settings/members/<str:username>/remove",
        project_settings.member_remove,
        name="project-member-remove",
    ),
    path(
        f"{IN_PROJECT}/settings/tokens/<str:token_id>/revoke",
        project_settings.token_revoke,
        name="project-token-revoke",
    ),
    path(f"{IN_PROJECT}/settings/clear", project_settings.clear, name="project-clear"),
    path(f"{IN_PROJECT}/settings/delete", project_settings.delete, name="project-delete"),
    path(f"{IN_PROJECT}/run", containers.run, name="run"),
    path(f"{IN_PROJECT}/images/", images.image_list, name="images"),
    path(f"{IN_PROJECT}/images/import", images.image_import, name="image-import"),
    path(f"{IN_PROJECT}/images/pull", transfers.image_pull, name="image-pull"),
    path(f"{IN_PROJECT}/images/upstream", transfers.images_upstream, name="images-upstream"),
    path(f"{IN_PROJECT}/images/<str:image_id>/push", transfers.image_push, name="image-push"),
    path(f"{IN_PROJECT}/images/<str:image_id>/tag", transfers.image_tag, name="image-tag"),
    path(f"{IN_PROJECT}/images/<str:image_id>/untag", transfers.image_untag, name="image-untag"),
    path(f"{IN_PROJECT}/settings/registries/", registries.registries, name="project-registries"),
    path(
        f"{IN_PROJECT}/settings/registries/<str:host>/test",
        registries.account_test,
        name="registry-account-test",
    ),
    path(
        f"{IN_PROJECT}/settings/registries/<str:host>/remove",
        registries.account_remove,
        name="registry-account-remove",
    ),
    path(f"{IN_PROJECT}/images/<str:image_id>/", images.image, name="image"),
    path(f"{IN_PROJECT}/images/<str:image_id>/remove", images.image_remove, name="image-remove"),
    re_path(rf"{CONTAINER}/$", containers.container, name="container"),
    re_path(rf"{CONTAINER}/log$", logs.container_log, name="container-log"),
    re_path(
        rf"{CONTAINER}/(?P<action>start|stop|kill|remove)$", containers.container_act, name="container-act"
    ),
    path("jobs/", jobs.job_list, name="jobs"),
    path("jobs/<str:job_id>/", jobs.job, name="job"),
    path("jobs/<str:job_id>/log", logs.job_log, name="job-log"),
    path("jobs/<str:job_id>/<str:action>", jobs.job_act, name="job-act"),
    path("usage/", usage.usage, name="usage"),
    path("usage/requests/<str:request_id>/<str:verdict>", usage.quota_decide, name="quota-decide"),
    path(f"{IN_PROJECT}/quota", usage.quota, name="quota"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<str:token_id>/revoke", tokens.token_revoke, name="token-revoke"),
    path("recipes/", recipes.recipe_list, name="recipes"),
    path("recipes/<str:recipe>/bake", recipes.recipe_bake, name="recipe-bake"),
    path("audit/", audit.audit, name="audit"),
    path("audit/export.<str:kind>", audit.audit_export, name="audit-export"),
    path("nodes/", nodes.nodes, name="nodes"),
]
