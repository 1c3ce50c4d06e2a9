# SPDX-License-Identifier: Apache-2.0
# A build-and-test job.
mkdir -p app/src; echo 'echo "app $1 $VERSION"' >app/src/main.sh; printf 'A=1\n# comment\nB=two words\nHOME_DIR\n\nQ="quoted"\n' >env.list; export HOME_DIR=/h
cat >app/Dockerfile <<D
ARG BASE=$IMAGE
FROM \$BASE AS build
ARG VERSION=dev
ENV VERSION=\$VERSION
WORKDIR /app
COPY src/ ./
RUN chmod +x main.sh && echo built >log
FROM build AS test
RUN sh main.sh test
FROM \$BASE
LABEL org.opencontainers.image.version=x
COPY --from=build /app /app
ENV VERSION=final PATH=/app:\$PATH
EXPOSE 80/tcp 53/udp
HEALTHCHECK --interval=30s CMD true
USER 1000
ENTRYPOINT ["sh", "/app/main.sh"]
CMD ["default"]
D
printf 'secret\n**/*.tmp\n!keep.tmp\n' >app/.dockerignore; echo s >app/secret; echo t >app/src/x.tmp
export DOCKER_BUILDKIT=0
docker build -t ci/app:1 -t ci/app:latest --build-arg VERSION=1.2 app | grep -E '^(Step|Successfully)' | sed 's/built .*/built/'; echo "-> ${PIPESTATUS[0]}"
docker build -q --target build 2>/dev/null -t ci/build app >/dev/null; docker run --rm ci/build sh -c 'ls; sh main.sh x'
docker run --rm ci/app:1; docker run --rm ci/app:1 arg; docker run --rm -e VERSION=env ci/app; docker run --rm --entrypoint ls ci/app -1 /app
docker image inspect -f '{{json .Config.Entrypoint}} {{json .Config.Cmd}} {{.Config.User}} {{len .Config.ExposedPorts}} {{json .Config.Labels}} {{json .Config.Healthcheck}} {{.Config.WorkingDir}}' ci/app:1
docker build -q -f - app <<<"FROM $IMAGE
COPY src/main.sh /" | cut -c1-7
tar c -C app . | docker build -q --build-arg BASE=$IMAGE - | cut -c1-7
echo "FROM $IMAGE" | docker build -q -t ci/stdin - | cut -c1-7
docker build -t ci/fail - <<<"FROM $IMAGE
RUN echo before && exit 3
RUN echo never" 2>&1 | grep -v -e '^Step' -e Running -e ' ---> ' -e DEPREC -e BuildKit -e environment-variable -e buildx -e Install -e https -e Sending -e '^$'; echo "-> ${PIPESTATUS[0]}"
docker build -f app/nosuch app 2>&1 | grep -c "no such file"; docker build nosuch 2>&1 | tail -1; echo "-> $?"; docker build --target nosuch app >/dev/null 2>&1; echo "-> $?"; docker build -t 'BAD' app 2>/dev/null; echo "-> $?"
docker build --no-cache -q --iidfile iid app >/dev/null; cut -c1-7 iid; docker build -q --label k=v --network none --memory 64m app | xargs docker image inspect -f '{{index .Config.Labels "k"}}'
unset DOCKER_BUILDKIT
docker run --rm --env-file env.list -e C=3 -e HOME_DIR $IMAGE sh -c 'echo "$A|$B|$C|$HOME_DIR|$Q"'
docker run --rm --env-file nosuch $IMAGE true; echo "-> $?"
docker run --cidfile cid --name ci1 -d -v "$PWD/app:/work:ro" -w /work $IMAGE sleep 1000 >/dev/null; [ "$(cat cid)" = "$(docker inspect -f '{{.Id}}' ci1)" ] && echo same
docker exec $(cat cid) ls; docker exec ci1 touch x; echo "-> $?"; docker run --cidfile cid $IMAGE true; echo "-> $?"
docker run --rm -v "$PWD/out:/out" -u $(id -u):$(id -g) $IMAGE sh -c 'echo report >/out/report'; cat out/report
docker run --rm --volumes-from ci1 $IMAGE ls /work; docker run --rm -v ci-cache:/c $IMAGE sh -c 'echo c >/c/f'; docker run --rm --mount source=ci-cache,target=/c,readonly $IMAGE cat /c/f
docker volume rm ci-cache; id=$(docker run -d $IMAGE sleep 1000); docker rm -f $id | sed "s/$id/ID/"; docker stop -t 0 ci1; docker rm ci1
docker rmi -f $(docker images -q 'ci/*' | sort -u) >/dev/null 2>&1
docker login -u x --password-stdin 127.0.0.1:5999 <<<p 2>/dev/null; echo "-> $?"; docker logout 127.0.0.1:5999; docker context ls --format '{{.Name}}'; docker search --limit 1 x >/dev/null 2>&1; echo "-> $?"
