"""Settings of the platform: the web side's only reader of the environment (docs/architecture.md, 1).

A missing or wrong value stops the start with a message that names it.
"""

from __future__ import annotations

from pathlib import Path

from csp.constants import NONCE, NONE, SELF

from slipway import environment
from slipway.blobs.places import parse_place
from slipway.logformat import logging_config

ROOT = Path(__file__).resolve().parent.parent.parent

# --------------------------------------------------------------------------- this installation

SLIPWAY_DATA = environment.path("SLIPWAY_DATA", "/var/lib/slipway")
SLIPWAY_RUN = environment.path("SLIPWAY_RUN", "/run/slipway")
SLIPWAY_NODE = environment.name("SLIPWAY_NODE", "local")
SLIPWAY_INSTANCE = environment.name("SLIPWAY_INSTANCE", "slipway")
SLIPWAY_REDIS_URL = environment.redis_url("SLIPWAY_REDIS_URL", f"unix://{SLIPWAY_RUN}/redis.sock")
SLIPWAY_UID_BASE = environment.integer("SLIPWAY_UID_BASE", 1_000_000, low=65_536, high=(1 << 32) - (1 << 24))
SLIPWAY_SUBNETS = environment.network("SLIPWAY_SUBNETS", "10.87.0.0/16")
ALLOWED_HOSTS = environment.items("SLIPWAY_HOSTS", "localhost,127.0.0.1,[::1]")
SLIPWAY_PORT = environment.integer("SLIPWAY_PORT", 8000, low=1, high=65_535)
SLIPWAY_TLS = environment.switch("SLIPWAY_TLS")
SLIPWAY_LOG_RETENTION_DAYS = environment.integer("SLIPWAY_LOG_RETENTION_DAYS", 14, low=0, high=36_500)
SLIPWAY_PLATFORM_DATA = SLIPWAY_DATA / "platform"
SLIPWAY_KEYS = SLIPWAY_PLATFORM_DATA / "keys"
SLIPWAY_SECRET_KEY_FILE = environment.path("SLIPWAY_SECRET_KEY_FILE", SLIPWAY_KEYS / "django")
SLIPWAY_AGENT_SOCKET = SLIPWAY_RUN / "agent.sock"
SLIPWAY_SIGNUP = environment.choice("SLIPWAY_SIGNUP", "closed", among=("open", "invite", "closed"))
SLIPWAY_MAIL = environment.mail("SLIPWAY_EMAIL_URL")
SLIPWAY_OIDC = environment.oidc("SLIPWAY_OIDC")
SLIPWAY_REGISTRY_HOSTS = environment.items(
    "SLIPWAY_REGISTRY_HOSTS", ",".join(environment.registry_hosts(ALLOWED_HOSTS, SLIPWAY_PORT, SLIPWAY_TLS))
)
SLIPWAY_REGISTRY_NODE = environment.origin(
    "SLIPWAY_REGISTRY_NODE",
    f"http://127.0.0.1:{SLIPWAY_PORT}"
    if "127.0.0.1" in ALLOWED_HOSTS
    else f"https://{SLIPWAY_REGISTRY_HOSTS[0]}",
)
SLIPWAY_REGISTRIES_ALLOW = environment.items("SLIPWAY_REGISTRIES_ALLOW", "")
SLIPWAY_REGISTRIES_DENY = environment.items("SLIPWAY_REGISTRIES_DENY", "")
SLIPWAY_REGISTRIES_PRIVATE = environment.items("SLIPWAY_REGISTRIES_PRIVATE", "")
SLIPWAY_REGISTRIES_PLAIN_HTTP = environment.items("SLIPWAY_REGISTRIES_PLAIN_HTTP", "")
SLIPWAY_REGISTRIES_SEARCH = environment.items("SLIPWAY_REGISTRIES_SEARCH", "")
SLIPWAY_REGISTRY_MIRRORS = environment.mirrors("SLIPWAY_REGISTRY_MIRRORS")
SLIPWAY_UPSTREAM_FRESH_SECONDS = environment.integer(
    "SLIPWAY_UPSTREAM_FRESH_SECONDS", 3600, low=0, high=30 * 86_400
)
SLIPWAY_BLOBS = parse_place(
    "SLIPWAY_BLOBS", environment.text("SLIPWAY_BLOBS", f"dir:{SLIPWAY_PLATFORM_DATA}/blobs")
)
"""Where the registry keeps its bytes."""
SLIPWAY_ROAD = "slipway.dispatch.CeleryRoad"
"""How commands travel to nodes; tests put a recorder here."""

# --------------------------------------------------------------------------- Django

DEBUG = environment.switch("SLIPWAY_DEBUG")
SECRET_KEY = environment.secret("SLIPWAY_SECRET_KEY_FILE", SLIPWAY_SECRET_KEY_FILE)
SECRET_KEY_FALLBACKS = environment.former_secrets("SLIPWAY_SECRET_KEY_FILE", SLIPWAY_SECRET_KEY_FILE)

INSTALLED_APPS = [
    "slipway.accounts",
    "slipway.audit",
    "slipway.projects",
    "slipway.nodes",
    "slipway.jobs",
    "slipway.repositories",
    "slipway.catalog",
    "slipway.builds",
    "slipway.containers",
    "slipway.templates",
    "slipway.console",
    "slipway.operations",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "channels",
    "csp",
    "django_cotton.apps.SimpleAppConfig",
    "django_htmx",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "rest_framework",
]

MIDDLEWARE = [
    "slipway.middleware.trace",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]

ROOT_URLCONF = "slipway.urls"
ASGI_APPLICATION = "slipway.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "OPTIONS": {
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    [
                        "django_cotton.cotton_loader.Loader",
                        "django.template.loaders.filesystem.Loader",
                        "django.template.loaders.app_directories.Loader",
                    ],
                )
            ],
            "builtins": ["django_cotton.templatetags.cotton"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "slipway.accounts.context.entrance",
            ],
        },
    }
]

DATABASES = {
    "default": environment.database("SLIPWAY_DATABASE_URL", f"sqlite://{SLIPWAY_PLATFORM_DATA}/db.sqlite3")
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {"hosts": [SLIPWAY_REDIS_URL], "prefix": f"{SLIPWAY_INSTANCE}.hint"},
    }
}

CACHES = {
    "default": {
        # Shared by all web processes: failed sign-ins count wherever they arrive.
        "BACKEND": "slipway.counting.CountingCache",
        "LOCATION": SLIPWAY_REDIS_URL,
        "KEY_PREFIX": f"{SLIPWAY_INSTANCE}:cache",
        "OPTIONS": {"socket_timeout": 5, "socket_connect_timeout": 2},
    }
}

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = SLIPWAY_PLATFORM_DATA / "static"
STATICFILES_DIRS = [ROOT / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "slipway.console.storage.HashedStaticFiles"},
}
WHITENOISE_ALLOW_ALL_ORIGINS = False
FILE_UPLOAD_TEMP_DIR = str(SLIPWAY_PLATFORM_DATA / "tmp")
DATA_UPLOAD_MAX_MEMORY_SIZE = 2 << 20
SLIPWAY_LOG = environment.text("SLIPWAY_LOG", "json")
LOGGING = logging_config(SLIPWAY_LOG, debug=DEBUG)
LOGGING_CONFIG = "slipway.logformat.configure"

# --------------------------------------------------------------------------- people

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 10},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "slipway.accounts.adapter.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_USERNAME_MIN_LENGTH = 2
ACCOUNT_USERNAME_VALIDATORS = "slipway.accounts.adapter.USERNAME_VALIDATORS"
# Codes instead of links: an address with a key in it ends up in histories and logs. Whether a sign-in waits
# for the code is AccountAdapter's business.
ACCOUNT_EMAIL_VERIFICATION = "mandatory"
ACCOUNT_EMAIL_VERIFICATION_BY_CODE_ENABLED = True
ACCOUNT_PASSWORD_RESET_BY_CODE_ENABLED = True
ACCOUNT_CHANGE_EMAIL = True
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_EMAIL_SUBJECT_PREFIX = "[Slipway] "
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_LOGOUT_ON_PASSWORD_CHANGE = False
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_DEFAULT_HTTP_PROTOCOL = "https" if SLIPWAY_TLS else "http"
ACCOUNT_RATE_LIMITS = {"login": "30/m/ip", "login_failed": "10/m/ip,5/5m/key", "signup": "10/m/ip"}
MFA_ADAPTER = "slipway.accounts.adapter.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_PASSKEY_LOGIN_ENABLED = True
MFA_TOTP_ISSUER = "Slipway"
MFA_TOTP_TOLERANCE = 1
MFA_RECOVERY_CODES_SHOW_ONCE = True
# Browsers offer passkeys over plain HTTP on localhost only.
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = not SLIPWAY_TLS
SOCIALACCOUNT_ADAPTER = "slipway.accounts.adapter.SocialAccountAdapter"
SOCIALACCOUNT_ONLY = False
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False  # an address alone proves nobody's account
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = "oidc"
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": SLIPWAY_OIDC.apps}}

# --------------------------------------------------------------------------- mail

EMAIL_BACKEND = SLIPWAY_MAIL.backend
EMAIL_HOST = SLIPWAY_MAIL.host
EMAIL_PORT = SLIPWAY_MAIL.port
EMAIL_HOST_USER = SLIPWAY_MAIL.user
EMAIL_HOST_PASSWORD = SLIPWAY_MAIL.password
EMAIL_USE_TLS = SLIPWAY_MAIL.starttls
EMAIL_USE_SSL = SLIPWAY_MAIL.tls
EMAIL_TIMEOUT = 10
EMAIL_FILE_PATH = SLIPWAY_MAIL.directory
DEFAULT_FROM_EMAIL = environment.text("SLIPWAY_EMAIL_FROM", f"Slipway <slipway@{ALLOWED_HOSTS[0]}>")
SERVER_EMAIL = DEFAULT_FROM_EMAIL

# --------------------------------------------------------------------------- the browser's side of security

# Cookies ignore ports: under plain HTTP the names at least do not clash with a neighbour's.
_cookie = "__Host-slipway" if SLIPWAY_TLS else "slipway"
SESSION_COOKIE_NAME = f"{_cookie}-session"
SESSION_COOKIE_SECURE = SLIPWAY_TLS
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_NAME = f"{_cookie}-csrf"
CSRF_COOKIE_SECURE = SLIPWAY_TLS
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "slipway.errors.csrf_failure"
CSRF_TRUSTED_ORIGINS = [f"https://{host}" for host in ALLOWED_HOSTS if host != "*"] if SLIPWAY_TLS else []
SECURE_HSTS_SECONDS = 31_536_000 if SLIPWAY_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = False  # containers may be published below our name without TLS
# The proxy that ends TLS redirects to https; subdomains: above; preload lists are the domain owner's affair.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W008", "security.W021"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if SLIPWAY_TLS else None
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin" if SLIPWAY_TLS else None
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, NONCE],
        "style-src": [SELF, NONCE],
        "img-src": [SELF, "data:"],  # Tabler draws its ticks and arrows as data: images
        "font-src": [SELF],
        "connect-src": [SELF],
        "manifest-src": [SELF],
        # A form of ours leads on to the provider's sign-in.
        "form-action": [SELF, *SLIPWAY_OIDC.origins],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "object-src": [NONE],
    }
}

# --------------------------------------------------------------------------- REST

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "slipway.accounts.authentication.TokenAuthentication",
        "slipway.accounts.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["slipway.bodies.JsonParser"],
    "DEFAULT_SCHEMA_CLASS": "slipway.schema.Schema",
    "EXCEPTION_HANDLER": "slipway.errors.exception_handler",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Slipway",
    "DESCRIPTION": "A private container cloud for teams that share machines without sharing trust.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "BuildState": "slipway.builds.models.BuildState",
        "BuildStepState": "slipway.builds.models.StepState",
        "ContainerState": "slipway.containers.models.State",
        "JobState": "slipway.jobs.models.JobState",
        "JobKind": "slipway.jobs.models.JobKind",
        "Resource": "slipway.projects.models.Resource",
        "QuotaRequestState": "slipway.projects.models.RequestState",
        "Visibility": "slipway.repositories.models.Visibility",
        "Role": "slipway.accounts.models.Role",
        "TokenScope": "slipway.accounts.models.TokenScope",
        "WaitCondition": "slipway.containers.waiting.Condition",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "slipway.schema.add_problems",
    ],
}
