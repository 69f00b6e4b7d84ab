"""How pages answer: whole, or as the one live region that htmx asked for; and what happened, as a toast."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.cache import patch_cache_control, patch_vary_headers


def live_page(
    request: HttpRequest, template: str, region: str, context: Mapping[str, Any], status: int = 200
) -> HttpResponse:
    """The page, or only its live region: the same address answers both, so a reload shows the same."""
    only_region = request.headers.get("HX-Request") == "true"
    response = render(request, region if only_region else template, dict(context), status=status)
    patch_vary_headers(response, ["HX-Request"])
    # Facts: the browser must not show yesterday's when somebody goes back.
    patch_cache_control(response, no_store=True)
    return response


def done(request: HttpRequest, text: str, url: str) -> HttpResponse:
    """A change went through: confirm it and go on to ``url``."""
    if request.headers.get("HX-Request") == "true":
        response = HttpResponse(status=204)
        response["Slipway-Toast"] = json.dumps(text)  # escaped: a header holds no other letters
        return response
    messages.success(request, text)
    return redirect(url)
