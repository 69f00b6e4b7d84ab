# A Rack application, from Gemfile, config.ru; port 9292
# syntax=docker/dockerfile:1

# RUBY is the version of Ruby to run on.
ARG RUBY=3.3

FROM ruby:${RUBY}-slim

# Some gems are compiled when they are installed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential git libyaml-dev \
    && rm -rf /var/lib/apt/lists/*

ENV BUNDLE_WITHOUT=development:test

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY Gemfile ./
RUN bundle install

COPY . .

# Not root.
RUN useradd --system --uid 10001 app && chown -R app /app
USER app

EXPOSE 9292

CMD ["bundle", "exec", "rackup", "-o", "0.0.0.0", "-p", "9292"]
