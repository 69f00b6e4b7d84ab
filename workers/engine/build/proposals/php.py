"""PHP behind Apache, with Composer where there is a composer.json. Pure."""

from __future__ import annotations

from workers.engine.build.proposals.project import HEAD, Project, Proposal, lines, section, version

DEFAULT = "8.3"
PORT = 80
WANTED = ("composer.json",)
IGNORE = ".git\nvendor\nnode_modules\n.env\nstorage/logs\nDockerfile\n.dockerignore\n"


def propose(project: Project) -> Proposal | None:
    if not project.has("composer.json", "index.php", "public/index.php"):
        return None
    composer = project.has("composer.json")
    lock = " composer.lock" if project.has("composer.lock") else ""
    public = project.has("public/index.php")
    return Proposal(
        "php",
        "Laravel" if project.has("artisan") else "PHP behind Apache",
        tuple(
            name
            for name in ("composer.json", "composer.lock", "artisan", "public/index.php", "index.php")
            if project.has(name)
        ),
        lines(
            HEAD,
            f"# PHP is the version of PHP to run on.\nARG PHP={_php(project)}",
            "FROM composer:2 AS vendor\nWORKDIR /app\n"
            f"COPY composer.json{lock} ./\n"
            "RUN --mount=type=cache,target=/tmp/cache \\\n"
            "    composer install --no-dev --no-scripts --no-interaction --prefer-dist --ignore-platform-reqs"
            if composer
            else "",
            "FROM php:${PHP}-apache",
            "# Only what is in public/ is shown.\n"
            "RUN sed -ri 's!/var/www/html!/var/www/html/public!g' /etc/apache2/sites-available/*.conf"
            if public
            else "",
            "RUN a2enmod rewrite",
            "WORKDIR /var/www/html",
            "COPY --chown=www-data:www-data . .",
            "COPY --from=vendor --chown=www-data:www-data /app/vendor vendor" if composer else "",
            f"EXPOSE {PORT}",
        ),
        IGNORE,
        PORT,
    )


def _php(project: Project) -> str:
    wanted = str(section(project.json("composer.json"), "require", "php"))
    found = version(wanted, DEFAULT)
    at_least = wanted.startswith((">", "^")) and found.startswith(f"{DEFAULT.partition('.')[0]}.")
    return max(found, DEFAULT, key=lambda each: int(each.partition(".")[2])) if at_least else found
