"""One's own account: name, ways to sign in, the browsers that are signed in."""

from __future__ import annotations

from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django import forms
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from slipway.accounts import services, sessions
from slipway.accounts.actors import Actor
from slipway.console.calls import Call, curls
from slipway.console.forms import Styled
from slipway.console.members import member_page
from slipway.console.views.answers import done

SHOWN_MAX = 100


class ProfileForm(Styled):
    name = forms.CharField(label="Name", max_length=150, required=False, help_text="How others see you.")


@require_http_methods(["GET", "POST"])
@member_page
def profile(request: HttpRequest, actor: Actor) -> HttpResponse:
    form = ProfileForm(request.POST or None, initial={"name": actor.user.name if actor.user else ""})
    if request.method == "POST" and form.is_valid():
        services.rename_user(actor, form.cleaned_data["name"])
        return done(request, "Your name is saved.", reverse("profile"))
    context = {
        "form": form,
        "unverified": EmailAddress.objects.filter(user=actor.user, verified=False).exists(),
        "logins": list(SocialAccount.objects.filter(user=actor.user)[:20]),
        "has_factor": actor.has_second_factor,
        "tab": "profile",
        "calls": curls(request, Call("Who I am", "GET", "/me")),
    }
    return render(request, "account/profile.html", context, status=422 if form.errors else 200)


@require_safe
@member_page
def session_list(request: HttpRequest, actor: Actor) -> HttpResponse:
    context = {
        "sessions": sessions.list_sessions(actor)[:SHOWN_MAX],
        "current": request.session.session_key,
        "tab": "sessions",
        "calls": curls(request, Call("My sessions", "GET", "/sessions")),
    }
    response = render(request, "account/sessions.html", context)
    response["Cache-Control"] = "no-store"
    return response


@require_POST
@member_page
def session_end(request: HttpRequest, actor: Actor, session_id: str) -> HttpResponse:
    sessions.end_session(actor, sessions.get_session(actor, session_id))
    return done(request, "That browser is signed out.", reverse("sessions"))


@require_POST
@member_page
def sessions_end(request: HttpRequest, actor: Actor) -> HttpResponse:
    count = sessions.end_others(actor, request.session.session_key)
    return done(request, f"{count} other session(s) signed out.", reverse("sessions"))
