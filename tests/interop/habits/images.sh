# SPDX-License-Identifier: Apache-2.0
# Images as files and back.
docker tag $IMAGE i/one:1; docker tag $IMAGE i/two:2
docker save i/one:1 i/two:2 | tar xf - -O manifest.json | grep -o '"RepoTags":\[[^]]*\]'
docker save i/one:1 | gzip >one.tgz; docker rmi i/one:1 i/two:2 >/dev/null; docker load <one.tgz; docker images --format '{{.Repository}}:{{.Tag}}' i/one
docker save -o two.tar i/one:1 && docker load -q -i two.tar; docker load -i nosuch; echo "-> $?"
echo nothing | docker load 2>/dev/null; echo "-> $?"
docker save i/one:1 2>/dev/null >/dev/full; echo "-> $?"
docker save nosuch:1 2>/dev/null >f; echo "-> $? $(stat -c %s f)"
docker save i/one:1 | docker load -q
docker run --name x1 -e A=1 -w /tmp $IMAGE sh -c 'echo made >/made; mkdir /d; rm -rf /home'
docker export x1 | docker import --change 'CMD ["cat","/made"]' --change 'ENV B=2' --change 'LABEL l=v' -m 'a message' - x/imported:1 | cut -d: -f1
docker run --rm x/imported:1; docker run --rm x/imported:1 sh -c 'echo $B; ls /home 2>/dev/null'; echo "-> $?"
docker image inspect -f '{{json .Config.Labels}} {{.Comment}} {{len .RootFS.Layers}}' x/imported:1
docker export -o x.tar x1; tar tf x.tar | grep -E '^(made|d/|home/)$'; docker import x.tar >/dev/null; docker import - <x.tar >/dev/null; echo "-> $?"
docker diff x1 | sort
docker commit -a 'me <me@x>' -m msg -c 'CMD ["sh","-c","cat /made; pwd"]' -c 'ENV C=3' -c 'EXPOSE 80' -c 'WORKDIR /d' -c 'USER 1:1' -c 'LABEL a=b c=d' -c 'VOLUME /v' -c 'ENTRYPOINT []' x1 x/committed:1 | cut -d: -f1
docker run --rm x/committed:1; docker image inspect -f '{{.Author}} {{.Comment}} {{json .Config.Env}} {{.Config.WorkingDir}} {{.Config.User}} {{json .Config.ExposedPorts}} {{json .Config.Labels}} {{json .Config.Volumes}} {{json .Config.Entrypoint}}' x/committed:1
docker commit -c 'RUN x' x1; echo "-> $?"
docker commit x1 'Bad'; echo "-> $?"
docker history --format '{{.CreatedBy}}|{{.Comment}}|{{.Size}}' x/committed:1 | head -2
docker history --no-trunc -q x/committed:1 | wc -l
docker rmi x/committed:1 | head -1; docker rmi nosuch; echo "-> $?"
docker rmi -f x/imported:1 | grep -c Untagged; docker rm x1; docker rmi i/one:1 | head -1; docker create --name keeper $IMAGE true >/dev/null; docker rmi $IMAGE 2>&1 | sed "s/container [0-9a-f]*/container ID/"; docker images --format '{{.Repository}}' | sort | uniq -c
docker tag $IMAGE 127.0.0.1:5999/x:1; docker push -q 127.0.0.1:5999/x:1 2>/dev/null; echo "-> $?"; docker rmi 127.0.0.1:5999/x:1; docker rm keeper
docker pull -q nosuch.invalid/x:1 2>/dev/null; echo "-> $?"
