"""The OpenAPI document and a page to read and try it; every asset of the page is ours."""

from __future__ import annotations

from django.views.generic import TemplateView
from drf_spectacular.utils import extend_schema
from drf_spectacular.views import SpectacularJSONAPIView
from rest_framework.permissions import AllowAny


@extend_schema(exclude=True)
class ApiSchema(SpectacularJSONAPIView):
    """Open to everybody: it tells no more than the manual does."""

    authentication_classes = []
    permission_classes = [AllowAny]


class ApiDocs(TemplateView):
    """Swagger UI; its settings are in static/js/api-docs.js, since no script stands in the page itself."""

    template_name = "api/docs.html"
