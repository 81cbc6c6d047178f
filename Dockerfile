# The server without the lab. It runs as an ordinary user; the root file system may be read-only.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY chatsys chatsys
COPY database database
COPY notebooks notebooks
COPY reports reports
RUN python -m venv /opt/chatsys \
 && /opt/chatsys/bin/pip install --no-cache-dir --disable-pip-version-check -c constraints.txt '.[redis,nats]'

FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home chatsys
COPY --from=build /opt/chatsys /opt/chatsys
USER chatsys
WORKDIR /tmp
ENV PATH=/opt/chatsys/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    CHATSYS_ENV=production \
    CHATSYS_LOG_FORMAT=json
EXPOSE 3001
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:3001/api/ready', timeout=2)"]
CMD ["chatsys", "serve", "--host", "0.0.0.0", "--port", "3001"]
