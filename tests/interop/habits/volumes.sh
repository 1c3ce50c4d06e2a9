# SPDX-License-Identifier: Apache-2.0
# Volumes and mounts.
docker volume create | wc -c; docker volume create -d local -o type=tmpfs -o device=tmpfs -o o=size=1m,uid=5 v1 >/dev/null; docker run --rm -v v1:/v $IMAGE sh -c 'df -k /v | tail -1 | awk "{print \$2}"; stat -c %u /v'
docker volume inspect -f '{{json .Options}} {{.Scope}}' v1
printf 'FROM %s\nRUN mkdir /data && echo image >/data/f && chown 7:7 /data\nVOLUME /data\n' $IMAGE | DOCKER_BUILDKIT=0 docker build -q -t vol:1 - >/dev/null
docker run --rm -v v2:/data vol:1 sh -c 'cat /data/f; stat -c %u /data'; docker run --rm --mount type=volume,source=v3,target=/data,volume-nocopy vol:1 ls /data
docker run --name k1 vol:1 true; docker inspect -f '{{range .Mounts}}{{.Type}} {{.Destination}} {{.Driver}} {{.RW}} {{len .Name}}{{end}}' k1; docker rm -v k1
docker run --name k2 -v v2:/data vol:1 true; docker rm -v k2; docker volume ls -q --filter name=v2; docker volume rm v2 v3; docker volume ls -q --filter dangling=true | grep -c -v '^v'
mkdir b; echo host >b/f; docker run --rm -v "$PWD/b:/data" vol:1 cat /data/f; docker run --rm -v "$PWD/b/f:/f:ro" $IMAGE sh -c 'cat /f; echo x >/f'; echo "-> $?"
docker run --rm --mount type=bind,src="$PWD/b",dst=/m,ro $IMAGE touch /m/x; echo "-> $?"; docker run --rm --mount type=bind,src="$PWD/nosuch",dst=/m $IMAGE true; echo "-> $?"
docker run --rm -v "$PWD/made/deep:/m" $IMAGE true; ls -d made/deep; docker run --rm --mount type=tmpfs,dst=/t,tmpfs-size=2m,tmpfs-mode=700 $IMAGE sh -c 'df -k /t | tail -1 | awk "{print \$2}"; stat -c %a /t'
docker run -d --name k3 -v v4:/a -v v4:/b:ro $IMAGE sleep 1000 >/dev/null; docker exec k3 sh -c 'echo x >/a/x; cat /b/x; touch /b/y 2>/dev/null'; echo "-> $?"; docker volume rm v4; echo "-> $?"
docker ps --filter volume=v4 --format '{{.Names}} {{.Mounts}}'; docker rm -f k3 >/dev/null; docker volume rm v4; docker volume rm nosuch; echo "-> $?"; docker volume rm -f nosuch; echo "-> $?"
docker volume create v5 >/dev/null; docker volume create v5; docker volume create --label a=b v5; docker volume create -d nosuch v6; echo "-> $?"; docker volume create 'b/d'; echo "-> $?"
docker run -v v5:/x:ro,z --rm $IMAGE touch /x/f; echo "-> $?"; docker run --rm -v v5:/x --tmpfs /x $IMAGE true; echo "-> $?"; docker run --rm -v v5:/x -v v7:/x $IMAGE true; echo "-> $?"
docker volume prune -f | tail -1 | cut -d: -f1; docker rmi vol:1 >/dev/null
