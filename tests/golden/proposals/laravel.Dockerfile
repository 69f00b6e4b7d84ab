# Laravel, from composer.json, composer.lock, artisan, public/index.php; port 80
# syntax=docker/dockerfile:1

# PHP is the version of PHP to run on.
ARG PHP=8.3

FROM composer:2 AS vendor
WORKDIR /app
COPY composer.json composer.lock ./
RUN --mount=type=cache,target=/tmp/cache \
    composer install --no-dev --no-scripts --no-interaction --prefer-dist --ignore-platform-reqs

FROM php:${PHP}-apache

# Only what is in public/ is shown.
RUN sed -ri 's!/var/www/html!/var/www/html/public!g' /etc/apache2/sites-available/*.conf

RUN a2enmod rewrite

WORKDIR /var/www/html

COPY --chown=www-data:www-data . .

COPY --from=vendor --chown=www-data:www-data /app/vendor vendor

EXPOSE 80
