"""Django's own checks of a deployment find nothing to say behind a proxy that ends TLS."""

from __future__ import annotations

from tests.slipway.operations.conftest import Installation


def test_the_deployment_checks_are_clean_under_tls(installation: Installation) -> None:
    done = installation.run(
        "check", "--deploy", "--fail-level", "WARNING", SLIPWAY_TLS="on", SLIPWAY_HOSTS="cloud.example.org"
    )
    assert done.returncode == 0, done.stderr
    assert "System check identified no issues" in done.stdout
