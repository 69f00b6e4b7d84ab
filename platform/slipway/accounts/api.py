"""REST: who I am, teams and their members, tokens."""

from __future__ import annotations

from django.db import transaction
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway import deletion
from slipway.accounts import invitations, letters, memberships, queries, services, sessions
from slipway.accounts.models import Role
from slipway.accounts.token_api import TokenOut
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import ApiView, PageQuery, StrictSerializer


class UserOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    username = serializers.CharField()
    name = serializers.CharField()
    email = serializers.CharField(help_text="Empty if none is known.")
    is_administrator = serializers.BooleanField(source="is_staff")


class TeamOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    slug = serializers.CharField()
    name = serializers.CharField()
    requires_mfa = serializers.BooleanField(help_text="Members without a second factor are shut out.")
    created_at = serializers.DateTimeField()


class MemberOut(serializers.Serializer):
    username = serializers.CharField(source="user.username")
    name = serializers.CharField(source="user.name")
    role = serializers.ChoiceField(choices=Role.choices)
    since = serializers.DateTimeField(source="created_at")


class InvitationOut(serializers.Serializer):
    id = serializers.CharField(source="hex")
    role = serializers.ChoiceField(choices=Role.choices)
    project = serializers.CharField(
        source="project.path", default=None, allow_null=True, help_text="team/project, if to one only."
    )
    email = serializers.CharField(help_text="Where the link was sent; empty if nowhere.")
    created_by = serializers.CharField(source="created_by.username", default=None, allow_null=True)
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class MadeInvitationOut(InvitationOut):
    link = serializers.CharField(help_text="Opens once; shown now and never again.")


class MeOut(serializers.Serializer):
    user = UserOut(allow_null=True, help_text="None for a robot.")
    token = TokenOut(allow_null=True, help_text="The token of this request, if it came with one.")
    roles = serializers.DictField(
        child=serializers.ChoiceField(choices=Role.choices), help_text="Team slug to role."
    )


class SessionOut(serializers.Serializer):
    id = serializers.CharField(source="pk")
    address = serializers.CharField(source="ip", help_text="Where the sign-in came from.")
    browser = serializers.CharField(source="user_agent")
    created_at = serializers.DateTimeField()


class TeamIn(StrictSerializer):
    slug = serializers.CharField(max_length=60, help_text="2 to 30 lower-case letters, digits, hyphens.")
    name = serializers.CharField(max_length=100, required=False, default="", allow_blank=True)


class TeamChangeIn(StrictSerializer):
    name = serializers.CharField(max_length=100, required=False)
    requires_mfa = serializers.BooleanField(required=False)


class MemberIn(StrictSerializer):
    role = serializers.ChoiceField(choices=Role.choices)


class HeirIn(StrictSerializer):
    username = serializers.CharField(max_length=150)


class ConfirmQuery(StrictSerializer):
    confirm = serializers.CharField(max_length=120, help_text="The name of what is to be deleted.")


class InvitationIn(StrictSerializer):
    role = serializers.ChoiceField(choices=Role.choices, default=Role.DEVELOPER)
    project = serializers.SlugField(
        required=False, allow_null=True, default=None, help_text="A project of the team: invite to that only."
    )
    email = serializers.EmailField(
        required=False, default=None, allow_null=True, help_text="Send the link there."
    )
    days = serializers.IntegerField(default=7, min_value=1, max_value=invitations.DAYS_MAX)


class AcceptIn(StrictSerializer):
    secret = serializers.CharField(max_length=80, help_text="What follows `token=` in the link.")


MEMBER_PAGE = page_of(MemberOut)


class Me(ApiView):
    @extend_schema(operation_id="get_me", responses=MeOut, summary="Who this request comes from")
    def get(self, request: Request) -> Response:
        teams = {team.pk: team.slug for team in queries.list_teams(self.actor)}
        roles = {teams[team]: role for team, role in self.actor.roles.items() if team in teams}
        me = {"user": self.actor.user, "token": self.actor.token, "roles": roles}
        return Response(MeOut(me).data)


class Sessions(ApiView):
    @extend_schema(
        operation_id="list_sessions",
        responses=page_of(SessionOut),
        parameters=[PageQuery],
        summary="The browsers I am signed in with, newest first",
    )
    def get(self, request: Request) -> Response:
        found = sessions.list_sessions(self.actor)
        return self.page(self.query(PageQuery), found, SessionOut, ["-created_at", "-id"])


class SessionDetail(ApiView):
    @extend_schema(
        operation_id="end_session",
        request=None,
        responses={204: OpenApiResponse(description="That browser is signed out.")},
        summary="Sign a browser out",
    )
    def delete(self, request: Request, session: str) -> Response:
        sessions.end_session(self.actor, sessions.get_session(self.actor, session))
        return Response(status=204)


class Teams(ApiView):
    @extend_schema(
        operation_id="list_teams", responses=page_of(TeamOut), parameters=[PageQuery], summary="My teams"
    )
    def get(self, request: Request) -> Response:
        return self.page(self.query(PageQuery), queries.list_teams(self.actor), TeamOut, ["slug"])

    @extend_schema(
        operation_id="create_team",
        request=TeamIn,
        responses={201: TeamOut},
        summary="Found a team and own it",
    )
    def post(self, request: Request) -> Response:
        asked = self.body(TeamIn)
        team = services.create_team(self.actor, asked["slug"], asked["name"])
        return Response(TeamOut(team).data, status=201, headers={"Location": f"/api/v1/teams/{team.slug}"})


class TeamDetail(ApiView):
    @extend_schema(operation_id="get_team", responses=TeamOut, summary="One team")
    def get(self, request: Request, team: str) -> Response:
        return Response(TeamOut(queries.get_team(self.actor, team)).data)

    @extend_schema(
        operation_id="change_team", request=TeamChangeIn, responses=TeamOut, summary="Rename it, ask for MFA"
    )
    def patch(self, request: Request, team: str) -> Response:
        found, asked = queries.get_team(self.actor, team), self.body(TeamChangeIn)
        with transaction.atomic():
            if "name" in asked:
                found = memberships.rename_team(self.actor, found, asked["name"])
            if "requires_mfa" in asked:
                found = memberships.set_requires_mfa(self.actor, found, asked["requires_mfa"])
        return Response(TeamOut(found).data)

    @extend_schema(
        operation_id="delete_team",
        request=None,
        parameters=[ConfirmQuery],
        responses={204: OpenApiResponse(description="It is gone.")},
        summary="Delete a team without projects",
    )
    def delete(self, request: Request, team: str) -> Response:
        found = queries.get_team(self.actor, team)
        deletion.delete_team(self.actor, found, self.query(ConfirmQuery)["confirm"])
        return Response(status=204)


class TeamOwner(ApiView):
    @extend_schema(
        operation_id="transfer_team",
        request=HeirIn,
        responses={204: OpenApiResponse(description="They own it; you are a maintainer.")},
        summary="Hand a team over to another member",
    )
    def post(self, request: Request, team: str) -> Response:
        found = queries.get_team(self.actor, team)
        memberships.transfer_ownership(self.actor, found, self.body(HeirIn)["username"])
        return Response(status=204)


class Members(ApiView):
    @extend_schema(
        operation_id="list_members",
        responses=MEMBER_PAGE,
        parameters=[PageQuery],
        summary="The members of a team",
    )
    def get(self, request: Request, team: str) -> Response:
        found = queries.get_team(self.actor, team)
        return self.page(
            self.query(PageQuery), queries.list_members(self.actor, found), MemberOut, ["user__username"]
        )


class MemberDetail(ApiView):
    @extend_schema(
        operation_id="set_member",
        request=MemberIn,
        responses=MemberOut,
        summary="Add a member, change a role",
    )
    def put(self, request: Request, team: str, username: str) -> Response:
        found, asked = queries.get_team(self.actor, team), self.body(MemberIn)
        member = memberships.set_member(self.actor, found, username, Role(asked["role"]))
        return Response(MemberOut(member).data)

    @extend_schema(
        operation_id="remove_member",
        request=None,
        responses={204: OpenApiResponse(description="They are no member any more.")},
        summary="Remove a member, or leave",
    )
    def delete(self, request: Request, team: str, username: str) -> Response:
        memberships.remove_member(self.actor, queries.get_own_team(self.actor, team, username), username)
        return Response(status=204)


class ProjectMembers(ApiView):
    @extend_schema(
        operation_id="list_project_members",
        responses=MEMBER_PAGE,
        parameters=[PageQuery],
        summary="Who has a role of their own in a project",
    )
    def get(self, request: Request, team: str, project: str) -> Response:
        found = get_project_by_path(self.actor, team, project)
        members = queries.list_project_members(self.actor, found)
        return self.page(self.query(PageQuery), members, MemberOut, ["user__username"])


class ProjectMemberDetail(ApiView):
    @extend_schema(
        operation_id="set_project_member",
        request=MemberIn,
        responses=MemberOut,
        summary="Give somebody a role in a project",
    )
    def put(self, request: Request, team: str, project: str, username: str) -> Response:
        found, asked = get_project_by_path(self.actor, team, project), self.body(MemberIn)
        member = memberships.set_project_member(self.actor, found, username, Role(asked["role"]))
        return Response(MemberOut(member).data)

    @extend_schema(
        operation_id="remove_project_member",
        request=None,
        responses={204: OpenApiResponse(description="Only their role in the team counts now.")},
        summary="Take somebody's role in a project away",
    )
    def delete(self, request: Request, team: str, project: str, username: str) -> Response:
        found = get_project_by_path(self.actor, team, project)
        memberships.remove_project_member(self.actor, found, username)
        return Response(status=204)


class Invitations(ApiView):
    @extend_schema(
        operation_id="list_invitations",
        responses=page_of(InvitationOut),
        parameters=[PageQuery],
        summary="Invitations that can still be accepted",
    )
    def get(self, request: Request, team: str) -> Response:
        found = invitations.list_invitations(self.actor, queries.get_team(self.actor, team))
        return self.page(self.query(PageQuery), found, InvitationOut)

    @extend_schema(
        operation_id="invite",
        request=InvitationIn,
        responses={201: MadeInvitationOut},
        summary="Invite somebody by link or mail",
    )
    def post(self, request: Request, team: str) -> Response:
        found, asked = queries.get_team(self.actor, team), self.body(InvitationIn)
        project = get_project_by_path(self.actor, team, asked["project"]) if asked["project"] else None
        made, secret = invitations.invite(
            self.actor,
            found,
            Role(asked["role"]),
            project=project,
            email=asked["email"] or "",
            days=asked["days"],
        )
        link = letters.link_of(request, secret)
        letters.send_invitation(made, link)
        answer = {**InvitationOut(made).data, "link": link}
        return Response(answer, status=201)


class InvitationDetail(ApiView):
    @extend_schema(
        operation_id="withdraw_invitation",
        request=None,
        responses={204: OpenApiResponse(description="Its link opens nothing any more.")},
        summary="Withdraw an invitation",
    )
    def delete(self, request: Request, team: str, invitation: str) -> Response:
        found = queries.get_team(self.actor, team)
        invitations.withdraw(self.actor, invitations.get_invitation(self.actor, found, invitation))
        return Response(status=204)


class Accept(ApiView):
    @extend_schema(
        operation_id="accept_invitation", request=AcceptIn, responses=TeamOut, summary="Accept an invitation"
    )
    def post(self, request: Request) -> Response:
        found = invitations.open_invitation(self.body(AcceptIn)["secret"])
        invitations.accept(self.actor, found)
        return Response(TeamOut(found.team).data)
