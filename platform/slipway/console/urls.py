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
    projects,
    tokens,
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
    path("teams/new", projects.team_new, name="team-new"),
    path("projects/", projects.project_list, name="projects"),
    path("projects/new", projects.project_new, name="project-new"),
    path(f"{IN_PROJECT}/", projects.project, name="project"),
    path(f"{IN_PROJECT}/run", containers.run, name="run"),
    path(f"{IN_PROJECT}/images/", images.image_list, name="images"),
    path(f"{IN_PROJECT}/images/import", images.image_import, name="image-import"),
    path(f"{IN_PROJECT}/images/<str:image_id>/", images.image, name="image"),
    path(f"{IN_PROJECT}/images/<str:image_id>/remove", images.image_remove, name="image-remove"),
    re_path(rf"{CONTAINER}/$", containers.container, name="container"),
    re_path(rf"{CONTAINER}/log$", logs.container_log, name="container-log"),
    re_path(
        rf"{CONTAINER}/(?P<action>start|stop|kill|remove)$", containers.container_act, name="container-act"
    ),
    path("jobs/", jobs.job_list, name="jobs"),
    path("jobs/<str:job_id>/", jobs.job, name="job"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<str:token_id>/revoke", tokens.token_revoke, name="token-revoke"),
    path("audit/", audit.audit, name="audit"),
    path("audit/export.<str:kind>", audit.audit_export, name="audit-export"),
    path("nodes/", nodes.nodes, name="nodes"),
]
