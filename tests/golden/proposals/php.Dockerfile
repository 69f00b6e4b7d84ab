# PHP behind Apache, from index.php; port 80
# syntax=docker/dockerfile:1

# PHP is the version of PHP to run on.
ARG PHP=8.3

FROM php:${PHP}-apache

RUN a2enmod rewrite

WORKDIR /var/www/html

COPY --chown=www-data:www-data . .

EXPOSE 80
