# The image a sandbox runs in: the tools a build wants, and the supervisor as its first process.

FROM node:24-bookworm-slim AS node

FROM rust:1.95-slim-bookworm AS supervisor
WORKDIR /src
# Static, so that the program runs whatever is done to the image's libraries.
ENV RUSTFLAGS="-C target-feature=+crt-static"

# The dependencies alone, behind empty crates: a layer that only a change of the manifests makes anew.
# Cargo wants the Worker's source to exist before it opens the workspace, but never compiles it here:
# editing the Worker leaves the image as it is.
COPY Cargo.toml Cargo.lock ./
COPY protocol/Cargo.toml protocol/
COPY supervisor/Cargo.toml supervisor/
RUN mkdir -p src protocol/src supervisor/src \
 && touch src/lib.rs protocol/src/lib.rs supervisor/src/lib.rs \
 && echo 'fn main() {}' >supervisor/src/main.rs \
 && cargo build --locked --profile supervisor -p sandbox-supervisor --target "$(rustc -vV | sed -n 's/^host: //p')"

# Cargo compares times, and these files may be older than the empty ones that were just compiled.
COPY protocol/src protocol/src
COPY supervisor/src supervisor/src
RUN find protocol supervisor -name '*.rs' -exec touch {} + \
 && host="$(rustc -vV | sed -n 's/^host: //p')" \
 && cargo build --locked --profile supervisor -p sandbox-supervisor --target "$host" \
 && cp "target/$host/supervisor/sandbox-supervisor" /sandbox-supervisor

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      bash ca-certificates curl git procps python-is-python3 python3 \
 && rm -rf /var/lib/apt/lists/*

COPY --from=node /usr/local/bin/node /usr/local/bin/
COPY --from=node /usr/local/lib/node_modules/npm /usr/local/lib/node_modules/npm
# No word about a newer npm in the log of a build.
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
RUN ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
 && node --version && npm --version

# What runs in a sandbox is this user, unless the caller says root. The supervisor's state is root's alone.
RUN useradd --uid 1000 --user-group --create-home --shell /bin/bash sandbox \
 && install -d -o sandbox -g sandbox -m 0755 /workspace \
 && install -d -m 0700 /var/lib/sandbox
WORKDIR /workspace

COPY --from=supervisor /sandbox-supervisor /usr/local/bin/
EXPOSE 9711
ENTRYPOINT ["/usr/local/bin/sandbox-supervisor"]
