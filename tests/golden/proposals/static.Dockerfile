# Pages as they are, from public/index.html; port 80
# syntax=docker/dockerfile:1

FROM nginx:stable-alpine

COPY public /usr/share/nginx/html/

EXPOSE 80
