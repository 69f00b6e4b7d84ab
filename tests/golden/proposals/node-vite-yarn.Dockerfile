# Pages built with Yarn, from package.json, yarn.lock; port 80
# syntax=docker/dockerfile:1

# NODE is the version of Node.js to run on.
ARG NODE=22

FROM node:${NODE}-slim AS build

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY package.json yarn.lock ./
RUN --mount=type=cache,target=/usr/local/share/.cache/yarn \
    corepack enable && yarn install --frozen-lockfile

COPY . .

RUN yarn run build

# The pages alone, and a small server.
FROM nginx:stable-alpine

COPY --from=build /app/dist /usr/share/nginx/html/

EXPOSE 80
