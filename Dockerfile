# The relay in an image: built with the compiler, run without it, as an unprivileged user.
#
# docker build -t tidemark . && docker run -p 8080:8080 -v tidemark:/data -e JWT_SECRET tidemark
#
# A glibc image, because every native package has a prebuilt binary for it; install scripts are skipped.
ARG NODE_VERSION=22
FROM node:${NODE_VERSION}-bookworm-slim AS manifest
WORKDIR /app
COPY package.json package-lock.json ./

FROM manifest AS build
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts scripts
COPY core core
COPY client client
COPY server server
COPY cli cli
COPY bench bench
RUN node scripts/build.mjs

FROM manifest AS dependencies
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund

FROM node:${NODE_VERSION}-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080 DATA_DIR=/data
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist/cli dist/cli
COPY --from=build /app/dist/core dist/core
COPY --from=build /app/dist/server dist/server
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/healthz`).then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
CMD ["node", "dist/server/main.js"]
