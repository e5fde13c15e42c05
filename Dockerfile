# The image of Switchhook: one binary on a base without shell or package manager. docs/deploying.md says how to run it.
#
#   docker build --tag switchhook .
#
# The base has no tags of versions; who needs the same bytes every time pins digests.

# --- Build: glibc of the same Debian release as the base below. ---
FROM rust:1.95.0-slim-trixie AS build
WORKDIR /src
COPY . .
# The caches keep crates and compiled dependencies from one build to the next (BuildKit, Buildah). A C compiler, which
# this image has, is all that SQLite and aws-lc need.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --locked --profile dist --bin switchhook \
    && install -D --mode=0755 target/dist/switchhook /image/bin/switchhook \
    && install -d --mode=0700 /image/lib/switchhook

# --- Run: glibc, libgcc, CA certificates, and the user `nonroot` (65532). ---
FROM gcr.io/distroless/cc-debian13:nonroot
LABEL org.opencontainers.image.title="switchhook" \
      org.opencontainers.image.description="The webhook tenant router for LiveKit" \
      org.opencontainers.image.source="https://github.com/switchhook/switchhook" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY LICENSE /usr/share/doc/switchhook/LICENSE
COPY --from=build /image/bin/switchhook /usr/local/bin/switchhook
# The folder's content is copied, so `switchhook` keeps its mode. A new named volume takes mode and owner from here.
COPY --from=build --chown=65532:65532 /image/lib/ /var/lib/
USER 65532:65532
WORKDIR /etc/switchhook
# The API stays on 127.0.0.1:7891 inside the container, where `docker exec … switchhook hooks` reaches it.
ENV SWITCHHOOK_HOOKS=/etc/switchhook/hooks.yaml \
    SWITCHHOOK_DATA=/var/lib/switchhook \
    SWITCHHOOK_LOG=json
VOLUME /var/lib/switchhook
EXPOSE 7890 7891
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["switchhook", "health"]
ENTRYPOINT ["/usr/local/bin/switchhook"]
CMD ["serve"]
