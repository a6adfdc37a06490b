# docker build -t mvsep-async .
# docker run --rm -e MVSEP_API_TOKEN -v "$PWD:/work" -v mvsep-async:/state --user "$(id -u):$(id -g)" mvsep-async \
#     separate song.flac --algorithm "BS Roformer" --out stems
# The volume has the journal, so that no song is paid twice.

FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY mvsep_async ./mvsep_async
RUN python -m venv /opt/mvsep-async \
    && /opt/mvsep-async/bin/python -m pip install --no-cache-dir '.[sandbox]'

FROM python:3.13-slim
COPY --from=build /opt/mvsep-async /opt/mvsep-async
RUN useradd --create-home --uid 10001 mvsep \
    && install --directory --owner mvsep /work \
    && install --directory --mode 1777 /state
ENV PATH=/opt/mvsep-async/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    XDG_STATE_HOME=/state \
    XDG_CONFIG_HOME=/state/config \
    XDG_CACHE_HOME=/state/cache
USER 10001
WORKDIR /work
ENTRYPOINT ["mvsep-async"]
CMD ["--help"]
