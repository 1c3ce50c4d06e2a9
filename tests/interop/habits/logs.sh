# SPDX-License-Identifier: Apache-2.0
# Logs: tails, times, both streams, following, and what is left of them later.
docker run -d --name l1 $IMAGE sh -c 'for i in 1 2 3; do echo out $i; sleep 0.1; echo err $i >&2; sleep 0.1; done; printf unfinished; sleep 2; echo; echo late; sleep 1000' >/dev/null
sleep 1.5
docker logs l1 2>/dev/null; echo "|"
docker logs l1 2>&1 >/dev/null; echo "|"
docker logs --tail 2 l1 2>/dev/null; echo "|"
docker logs -n 0 l1; docker logs -n all l1 2>/dev/null | head -1
docker logs -t l1 2>/dev/null | head -1 | grep -cE '^[0-9-]+T[0-9:.]+Z out 1$'
now=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
docker logs --since 10m l1 2>/dev/null | wc -l
docker logs --since "$now" l1 2>/dev/null | wc -l
docker logs --until 10m l1 2>/dev/null | wc -l
docker logs --since 1h --until 30m l1 | wc -l
docker logs --until "$now" l1 2>/dev/null | head -1
timeout 4 docker logs -f --since "$now" l1; echo "-> $?"
timeout 4 docker logs -f --tail 1 l1 & sleep 1; docker kill l1 >/dev/null; wait $!; echo "-> $?"
docker logs --follow l1 2>/dev/null | tail -1
docker logs --since bad l1; echo "-> $?"
docker logs --tail bad l1; echo "-> $?"
docker start l1 >/dev/null; sleep 1; docker logs l1 2>/dev/null | grep -c 'out 1'
docker rm -f l1 >/dev/null
docker run --name l2 --log-driver none $IMAGE echo x; docker logs l2; echo "-> $?"; docker rm l2 >/dev/null
docker run --name l3 --log-driver local $IMAGE sh -c 'echo one; sleep 0.1; echo two >&2'; docker logs l3; docker rm l3 >/dev/null
docker run --name l4 --log-opt max-size=10k --log-opt max-file=2 $IMAGE sh -c 'for i in $(seq 1 2000); do echo line number $i; done' >/dev/null
docker logs --tail 1 l4; docker rm l4 >/dev/null
docker run --name l5 --log-opt labels=app --log-opt env=A -l app=x -e A=1 $IMAGE echo hi; docker logs --details l5; docker rm l5 >/dev/null
docker run -t --name l6 $IMAGE sh -c 'echo o; echo e >&2' | od -c | head -3; docker logs l6 | od -c | head -3; docker rm l6 >/dev/null
docker run --rm --log-driver nosuch $IMAGE true; echo "-> $?"
