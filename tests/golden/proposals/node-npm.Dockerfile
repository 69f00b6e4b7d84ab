# A Node.js program with npm, from package.json, package-lock.json; port 3000
# syntax=docker/dockerfile:1

# NODE is the version of Node.js to run on.
ARG NODE=20

FROM node:${NODE}-slim

WORKDIR /app

# Dependencies first: this layer is reused until they change.
COPY package.json package-lock.json ./
RUN --mount=type=cache,target=/root/.npm npm ci

COPY . .

ENV NODE_ENV=production

# Not root: the image brings a user `node`.
USER node

# The program should listen on the port that PORT says.
ENV PORT=3000
EXPOSE 3000

CMD ["npm", "start"]
