"""Ruby: Rails, Rack or a script. Pure."""

from __future__ import annotations

import re

from workers.engine.build.proposals.project import (
    EVERYWHERE,
    FIRST,
    HEAD,
    Project,
    Proposal,
    lines,
    version,
    words,
)

DEFAULT = "3.3"
WANTED = ("Gemfile", ".ruby-version", "config.ru")
IGNORE = ".git\nlog\ntmp\nvendor/bundle\nnode_modules\n.env\nDockerfile\n.dockerignore\n"
_SCRIPTS = ("app.rb", "main.rb", "server.rb")
_MARKS = ("Gemfile", "Gemfile.lock", "config.ru", "bin/rails", *_SCRIPTS)


def propose(project: Project) -> Proposal | None:
    if not project.has("Gemfile"):
        return None
    title, command, port = _program(project)
    lock = " Gemfile.lock" if project.has("Gemfile.lock") else ""
    rails = title == "Rails"
    frozen = "BUNDLE_FROZEN=1 " if lock else ""
    return Proposal(
        "ruby",
        title,
        tuple(
            name
            for name in ("Gemfile", "Gemfile.lock", "config.ru", "bin/rails", *_SCRIPTS)
            if project.has(name)
        ),
        lines(
            HEAD,
            f"# RUBY is the version of Ruby to run on.\nARG RUBY={_ruby(project)}",
            "FROM ruby:${RUBY}-slim",
            "# Some gems are compiled when they are installed.\n"
            "RUN apt-get update \\\n"
            "    && apt-get install -y --no-install-recommends build-essential git libyaml-dev \\\n"
            "    && rm -rf /var/lib/apt/lists/*",
            f"ENV {frozen}BUNDLE_WITHOUT=development:test" + (" RAILS_ENV=production" if rails else ""),
            "WORKDIR /app",
            f"{FIRST}\nCOPY Gemfile{lock} ./\nRUN bundle install",
            "COPY . .",
            "RUN SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile"
            if rails and project.has("config/initializers/assets.rb")
            else "",
            "# Not root.\nRUN useradd --system --uid 10001 app && chown -R app /app\nUSER app",
            f"EXPOSE {port}" if port else "",
            f"CMD {command}",
        ),
        IGNORE,
        port,
    )


def _ruby(project: Project) -> str:
    declared = re.search(r"^\s*ruby\s+['\"][^\d]*(\d+\.\d+)", project.text("Gemfile"), re.MULTILINE)
    return declared[1] if declared else version(project.text(".ruby-version"), DEFAULT)


def _program(project: Project) -> tuple[str, str, int | None]:
    gem = re.search(r"^\s*gem\s+['\"]rails['\"]", project.text("Gemfile"), re.MULTILINE)
    if gem or project.has("bin/rails"):
        return "Rails", words("bundle", "exec", "rails", "server", "-b", EVERYWHERE), 3000
    if project.has("config.ru"):
        return "A Rack application", words("bundle", "exec", "rackup", "-o", EVERYWHERE, "-p", "9292"), 9292
    script = project.first(_SCRIPTS) or next(iter(project.matching(r"\w+\.rb")), "main.rb")
    return "A Ruby script", words("bundle", "exec", "ruby", script), None
