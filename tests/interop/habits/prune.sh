# SPDX-License-Identifier: Apache-2.0
# Cleaning up as CI does it.
docker run --name p1 -l keep=yes $IMAGE true; docker run --name p2 $IMAGE true; docker run -d --name p3 $IMAGE sleep 1000 >/dev/null
docker network create -l keep=yes pn1 >/dev/null; docker network create pn2 >/dev/null
docker volume create -l keep=yes pv1 >/dev/null; docker volume create pv2 >/dev/null; docker run --rm -v /anon $IMAGE true
docker run --name p4 -v /anon $IMAGE true
printf 'FROM %s\nRUN echo 1 >/x\n' "$IMAGE" | DOCKER_BUILDKIT=0 docker build -q -t prune:1 - >/dev/null 2>&1
printf 'FROM %s\nRUN echo 2 >/x\n' "$IMAGE" | DOCKER_BUILDKIT=0 docker build -q -t prune:1 - >/dev/null 2>&1
docker images -q --filter dangling=true | wc -l
docker container prune -f --filter label!=keep | grep -c .
docker ps -a --format '{{.Names}}' | sort
docker network prune -f --filter label!=keep | head -2; docker network ls --format '{{.Name}}' --filter type=custom
docker image prune -f | tail -1 | cut -d: -f1; docker images -q --filter dangling=true | wc -l
docker volume prune -f 2>&1 | sed 's/[0-9a-f]\{64\}/ANON/' | sort; docker volume ls -q | sed 's/[0-9a-f]\{64\}/ANON/'
docker volume rm -f pv2 >/dev/null
docker system prune -f --filter label=nosuch | tail -1
docker system prune -f --filter until=24h | tail -1
docker system prune -f --filter bad=x 2>/dev/null; echo "-> $?"
docker system prune -f --volumes --filter until=24h; echo "-> $?"
docker create --name keeper $IMAGE true >/dev/null; docker tag $IMAGE prune:keep; docker system prune -f --volumes | grep -v -e '^[0-9a-f]\{12,\}' -e sha256 -e '^untagged' | sed 's/: .*//' | sort | uniq
docker ps -a --format '{{.Names}}'; docker images --format '{{.Repository}}:{{.Tag}}' | sort; docker volume ls -q; docker network ls --format '{{.Name}}' --filter type=custom
docker rm -f p3 >/dev/null; docker rmi prune:keep >/dev/null; docker system df --format '{{.Type}} {{.TotalCount}} {{.Active}}' | head -3
echo n | docker system prune | head -3; echo n | docker volume prune | grep -c 'Are you sure'; echo y | docker container prune
docker builder prune -f | tail -1 | cut -d: -f1
