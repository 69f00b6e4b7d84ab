"""REST: a project's accounts at other registries. Secrets go in and never come out."""

from __future__ import annotations

from asgiref.sync import sync_to_async
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from slipway.accounts import sealing
from slipway.accounts.actors import Actor
from slipway.catalog import credentials
from slipway.catalog.asking import Account, Refused, Registry
from slipway.catalog.models import RegistryCredential
from slipway.catalog.registries import Registries
from slipway.catalog.transfer_api import OfProject
from slipway.projects.queries import get_project_by_path
from slipway.schema import page_of
from slipway.views import AsyncApiView, PageQuery, StrictSerializer


class CredentialOut(serializers.Serializer):
    host = serializers.CharField(help_text="As in references.")
    username = serializers.CharField()
    created_by = serializers.CharField(source="created_by_name", help_text="Who set it last.")
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()
    used_at = serializers.DateTimeField(allow_null=True)
    tested_at = serializers.DateTimeField(allow_null=True)
    test_error = serializers.CharField(
        help_text="What the registry said at the last test; empty: it let us in."
    )


class CredentialIn(StrictSerializer):
    username = serializers.CharField(max_length=255)
    secret = serializers.CharField(
        max_length=credentials.SECRET_MAX,
        trim_whitespace=False,
        write_only=True,
        help_text="A password or token; it is never shown again.",
    )


class Credentials(OfProject):
    @extend_schema(
        operation_id="list_registry_credentials",
        responses=page_of(CredentialOut),
        parameters=[PageQuery],
        summary="A project's accounts at registries",
    )
    def get(self, request: Request, **path: str) -> Response:
        found = credentials.list_credentials(self.actor, self.project())
        return self.page(self.query(PageQuery), found, CredentialOut, ("host", "id"))


class CredentialDetail(OfProject):
    @extend_schema(
        operation_id="set_registry_credential",
        request=CredentialIn,
        responses={
            200: OpenApiResponse(CredentialOut, description="It takes the place of another one."),
            201: CredentialOut,
        },
        summary="Set the account at a registry",
    )
    def put(self, request: Request, **path: str) -> Response:
        asked = self.body(CredentialIn)
        found, created = credentials.set_credential(
            self.actor, self.project(), self.kwargs["host"], asked["username"], asked["secret"]
        )
        return Response(CredentialOut(found).data, status=201 if created else 200)

    @extend_schema(
        operation_id="remove_registry_credential",
        request=None,
        responses={204: None},
        summary="Forget the account at a registry",
    )
    def delete(self, request: Request, **path: str) -> Response:
        credentials.remove_credential(self.actor, self.project(), self.kwargs["host"])
        return Response(status=204)


class CredentialTest(AsyncApiView):
    registry = Registry

    @extend_schema(
        operation_id="test_registry_credential",
        request=None,
        responses=CredentialOut,
        summary="Ask the registry whether it lets the account in",
        description="`test_error` tells; the answer is 200 either way.",
    )
    async def post(self, request: Request, **path: str) -> Response:
        self.body(StrictSerializer)
        found = await sync_to_async(self._find)()
        tested = await run_test(self.actor, found, self.registry)
        return Response(CredentialOut(tested).data)

    def _find(self) -> RegistryCredential:
        project = get_project_by_path(self.actor, self.kwargs["team"], self.kwargs["project"])
        return credentials.get_credential(self.actor, project, self.kwargs["host"])


async def run_test(
    actor: Actor, credential: RegistryCredential, registry: type[Registry] = Registry
) -> RegistryCredential:
    """Ask, and note what was said. Raise ``Unreadable``."""
    account = Account(credential.username, sealing.unseal(credential.sealed_secret))
    error = ""
    try:
        await registry(credential.host, Registries.of_settings(), account).sign_in()
    except Refused as refusal:
        error = f"{refusal}."
    return await sync_to_async(credentials.note_test)(actor, credential, error)
