# SPDX-License-Identifier: Apache-2.0
# Events by filter and format, of the past and as they come.
since=$(date +%s)
docker events --filter type=container --filter event=create --filter event=start --filter event=die --filter event=destroy --filter label=ev=yes \
  --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}} {{index .Actor.Attributes "exitCode"}}' >seen & pid=$!
sleep 1
docker run --rm --name e1 -l ev=yes $IMAGE sh -c 'exit 3'; echo "-> $?"
docker run --rm --name e2 $IMAGE true
docker create --name e3 -l ev=yes $IMAGE true >/dev/null; docker rm e3
sleep 1; kill $pid; wait $pid 2>/dev/null
cat seen
docker network create enet >/dev/null; docker volume create evol >/dev/null
docker run --name e4 --network enet -v evol:/v $IMAGE true; docker rename e4 e5; docker tag $IMAGE etag:1; docker rmi etag:1 >/dev/null
docker exec e5 true; docker pause e5; docker rm e5; docker network rm enet; docker volume rm evol
docker events --since $since --until $(($(date +%s) + 1)) --format '{{.Type}} {{.Action}}' | grep -v -e ^builder -e '^volume create' | sort | uniq -c
docker events --since $since --until $(($(date +%s) + 1)) --filter container=e5 --format '{{.Action}}'
docker events --since $since --until $(($(date +%s) + 1)) --filter type=network --filter network=enet --format '{{.Action}} {{.Actor.Attributes.name}} {{.Actor.Attributes.type}}'
docker events --since $since --until $(($(date +%s) + 1)) --filter type=volume --format '{{json .Actor.Attributes.driver}} {{.Action}}' | sort -u
docker events --since $since --until $(($(date +%s) + 1)) --filter image=etag --format '{{.Action}}'
docker events --since 1s --until 0s --filter event=nosuch | wc -l
docker events --since nosuch; echo "-> $?"
docker events --filter bad; echo "-> $?"
docker events --format '{{.Nope}}' --since $since --until $(date +%s) --filter event=rename; echo "-> $?"
