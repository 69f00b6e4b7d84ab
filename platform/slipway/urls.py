"""HTTP routes. Those of REST carry the room in their name: it labels metrics."""

from __future__ import annotations

from django.urls import include, path

from slipway import health
from slipway.accounts import api as accounts
from slipway.accounts import token_api as tokens
from slipway.apidocs import ApiDocs, ApiSchema
from slipway.audit import api as audit
from slipway.builds import api as builds
from slipway.builds import context_api as contexts
from slipway.builds import log_api as build_logs
from slipway.builds import output_api as build_output
from slipway.catalog import api as catalog
from slipway.catalog import credentials_api as credentials
from slipway.catalog import recipes_api as recipes
from slipway.catalog import search_api as search
from slipway.catalog import transfer_api as transfer
from slipway.containers import api as containers
from slipway.containers import log_api
from slipway.jobs import api as jobs
from slipway.jobs import log_api as job_logs
from slipway.jobs import weight_api as weights
from slipway.nodes import api as nodes
from slipway.projects import api as projects
from slipway.projects import quota_api as quotas
from slipway.repositories import api as repositories
from slipway.templates import api as templates

handler400 = "slipway.errors.bad_request"
handler403 = "slipway.errors.forbidden"
handler404 = "slipway.errors.not_found"
handler500 = "slipway.errors.server_error"

PROJECT = "projects/<str:team>/<str:project>"
BUILD = f"{PROJECT}/builds/<str:build>"
REPOSITORY = f"{PROJECT}/repositories/<str:repository>"
CONTAINER = f"{PROJECT}/containers/<str:container>"

api = [
    path("me", accounts.Me.as_view(), name="me"),
    path("sessions", accounts.Sessions.as_view(), name="sessions"),
    path("sessions/<str:session>", accounts.SessionDetail.as_view(), name="session"),
    path("teams", accounts.Teams.as_view(), name="teams"),
    path("teams/<str:team>", accounts.TeamDetail.as_view(), name="team"),
    path("teams/<str:team>/owner", accounts.TeamOwner.as_view(), name="team-owner"),
    path("teams/<str:team>/members", accounts.Members.as_view(), name="members"),
    path("teams/<str:team>/members/<str:username>", accounts.MemberDetail.as_view(), name="member"),
    path("teams/<str:team>/invitations", accounts.Invitations.as_view(), name="invitations"),
    path(
        "teams/<str:team>/invitations/<str:invitation>",
        accounts.InvitationDetail.as_view(),
        name="invitation",
    ),
    path("invitations/accept", accounts.Accept.as_view(), name="invitation-accept"),
    path("tokens/introspect", tokens.Introspect.as_view(), name="token-introspect"),
    path("tokens", tokens.Tokens.as_view(), name="tokens"),
    path("tokens/<str:token>", tokens.TokenDetail.as_view(), name="token"),
    path("projects", projects.Projects.as_view(), name="projects"),
    path(PROJECT, projects.ProjectDetail.as_view(), name="project"),
    path(f"{PROJECT}/members", accounts.ProjectMembers.as_view(), name="project-members"),
    path(f"{PROJECT}/members/<str:username>", accounts.ProjectMemberDetail.as_view(), name="project-member"),
    path(f"{PROJECT}/tokens", tokens.ProjectTokens.as_view(), name="project-tokens"),
    path(f"{PROJECT}/clear", projects.Clear.as_view(), name="project-clear"),
    path(f"{PROJECT}/jobs", jobs.Jobs.as_view(), name="jobs"),
    path(f"{PROJECT}/jobs/<str:job>", jobs.JobDetail.as_view(), name="job"),
    path(f"{PROJECT}/jobs/<str:job>/cancel", jobs.Cancel.as_view(), name="job-cancel"),
    path(f"{PROJECT}/jobs/<str:job>/retry", jobs.Retry.as_view(), name="job-retry"),
    path("templates", templates.Templates.as_view(), name="templates"),
    path("templates/<str:template>", templates.TemplateDetail.as_view(), name="template"),
    path(f"{PROJECT}/templates/<str:template>/run", templates.RunTemplate.as_view(), name="template-run"),
    path("recipes", recipes.Recipes.as_view(), name="recipes"),
    path("recipes/<str:recipe>/bake", recipes.Bake.as_view(), name="recipe-bake"),
    path(f"{PROJECT}/jobs/<str:job>/logs", job_logs.JobLogs.as_view(), name="job-logs"),
    path(f"{PROJECT}/builds", builds.Builds.as_view(), name="builds"),
    path(f"{PROJECT}/builds/contexts", contexts.Contexts.as_view(), name="build-contexts"),
    path(
        f"{PROJECT}/builds/contexts/<str:context>", contexts.ContextContents.as_view(), name="build-context"
    ),
    path(f"{PROJECT}/builds/prune", builds.Prune.as_view(), name="builds-prune"),
    path(BUILD, builds.BuildDetail.as_view(), name="build"),
    path(f"{BUILD}/cancel", builds.Cancel.as_view(), name="build-cancel"),
    path(f"{BUILD}/retry", builds.Retry.as_view(), name="build-retry"),
    path(f"{BUILD}/output", build_output.BuildOutput.as_view(), name="build-output"),
    path(f"{BUILD}/logs", build_logs.BuildLogs.as_view(), name="build-logs"),
    path("jobs", jobs.AllJobs.as_view(), name="all-jobs"),
    path(f"{PROJECT}/usage", quotas.Usage.as_view(), name="usage"),
    path(f"{PROJECT}/limits", quotas.ProjectLimits.as_view(), name="project-limits"),
    path(f"{PROJECT}/quota-requests", quotas.ProjectRequests.as_view(), name="project-quota-requests"),
    path("teams/<str:team>/weight", weights.TeamWeight.as_view(), name="team-weight"),
    path("teams/<str:team>/limits", quotas.TeamLimits.as_view(), name="team-limits"),
    path("quota-requests", quotas.Requests.as_view(), name="quota-requests"),
    path("quota-requests/<str:quota_request>", quotas.RequestDetail.as_view(), name="quota-request"),
    path("quota-requests/<str:quota_request>/approve", quotas.Approve.as_view(), name="quota-approve"),
    path("quota-requests/<str:quota_request>/decline", quotas.Decline.as_view(), name="quota-decline"),
    path("repositories", repositories.Search.as_view(), name="repository-search"),
    path(f"{PROJECT}/repositories", repositories.Repositories.as_view(), name="repositories"),
    path(REPOSITORY, repositories.RepositoryDetail.as_view(), name="repository"),
    path(f"{REPOSITORY}/tags", repositories.Tags.as_view(), name="repository-tags"),
    path(f"{REPOSITORY}/tags/<str:tag>", repositories.TagDetail.as_view(), name="repository-tag"),
    path(
        f"{REPOSITORY}/manifests/<str:manifest>",
        repositories.ManifestDetail.as_view(),
        name="repository-manifest",
    ),
    path(f"{REPOSITORY}/retention", repositories.Retention.as_view(), name="repository-retention"),
    path(f"{PROJECT}/images", catalog.Images.as_view(), name="images"),
    path(f"{PROJECT}/images/pull", transfer.Pull.as_view(), name="image-pull"),
    # A reference has slashes of its own.
    path(f"{PROJECT}/images/<path:image>/push", transfer.Push.as_view(), name="image-push"),
    path(f"{PROJECT}/images/<path:image>/tag", transfer.Tag.as_view(), name="image-tag"),
    path(f"{PROJECT}/images/<path:image>/untag", transfer.Untag.as_view(), name="image-untag"),
    path(f"{PROJECT}/images/<path:image>/archive", transfer.ImageArchive.as_view(), name="image-archive"),
    path(f"{PROJECT}/images/<path:image>", catalog.ImageDetail.as_view(), name="image"),
    path(f"{PROJECT}/disk", transfer.Disk.as_view(), name="disk"),
    path(f"{PROJECT}/registry-credentials", credentials.Credentials.as_view(), name="registry-credentials"),
    path(
        f"{PROJECT}/registry-credentials/<str:host>",
        credentials.CredentialDetail.as_view(),
        name="registry-credential",
    ),
    path(
        f"{PROJECT}/registry-credentials/<str:host>/test",
        credentials.CredentialTest.as_view(),
        name="registry-credential-test",
    ),
    path("images/search", search.Search.as_view(), name="image-search"),
    path(f"{PROJECT}/containers", containers.Containers.as_view(), name="containers"),
    path(CONTAINER, containers.ContainerDetail.as_view(), name="container"),
    path(f"{CONTAINER}/start", containers.Start.as_view(), name="container-start"),
    path(f"{CONTAINER}/stop", containers.Stop.as_view(), name="container-stop"),
    path(f"{CONTAINER}/kill", containers.Kill.as_view(), name="container-kill"),
    path(f"{CONTAINER}/wait", containers.Wait.as_view(), name="container-wait"),
    path(f"{CONTAINER}/logs", log_api.Logs.as_view(), name="container-logs"),
    path("audit", audit.Entries.as_view(), name="audit"),
    path("audit/export", audit.Export.as_view(), name="audit-export"),
    path("teams/<str:team>/audit", audit.TeamEntries.as_view(), name="team-audit"),
    path("teams/<str:team>/audit/export", audit.TeamExport.as_view(), name="team-audit-export"),
    path("nodes", nodes.Nodes.as_view(), name="nodes"),
    path("nodes/<str:node>", nodes.NodeDetail.as_view(), name="node"),
    path("nodes/<str:node>/checks", nodes.NodeChecks.as_view(), name="node-checks"),
    path("schema", ApiSchema.as_view(), name="schema"),
    path("docs", ApiDocs.as_view(), name="docs"),
]
urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.show_metrics, name="metrics"),
    path("api/v1/", include((api, "api"))),
    path("accounts/", include("allauth.account.urls")),
    path("accounts/2fa/", include("allauth.mfa.urls")),
    path("accounts/", include("allauth.socialaccount.providers.openid_connect.urls")),
    path("accounts/social/", include("allauth.socialaccount.urls")),
    path("", include("slipway.console.urls")),
]
