# Rails, from Gemfile, Gemfile.lock, config.ru, bin/rails; port 3000
# syntax=docker/dockerfile:1

# RUBY is the version of Ruby to run on.
ARG RUBY=3.2

FROM ruby:${RUBY}-slim

# Some gems are compiled when they are installed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends build-essential git libyaml-dev \
    && rm -rf /var/lib/apt/lists/*

ENV BUNDLE_FROZEN=1 BUNDLE_WITHOUT=development:test RAILS_ENV=production

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY Gemfile Gemfile.lock ./
RUN bundle install

COPY . .

# Not root.
RUN useradd --system --uid 10001 app && chown -R app /app
USER app

EXPOSE 3000

CMD ["bundle", "exec", "rails", "server", "-b", "0.0.0.0"]
