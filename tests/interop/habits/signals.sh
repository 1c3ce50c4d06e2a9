# SPDX-License-Identifier: Apache-2.0
# Signals, exit codes, standard input, detaching.
docker run --rm --name s1 $IMAGE sh -c 'trap "echo term; exit 7" TERM; while :; do sleep 0.1; done' & pid=$!
sleep 1.5; kill -TERM $pid; wait $pid; echo "-> $?"
docker run --rm --name s2 $IMAGE sh -c 'trap "echo int; exit 8" INT; while :; do sleep 0.1; done' & pid=$!
sleep 1.5; docker kill -s INT s2; wait $pid; echo "-> $?"
for c in 0 1 2 42 125 126 127 128 137 143 255; do docker run --rm $IMAGE sh -c "exit $c"; printf '%s ' $?; done; echo
docker run --rm $IMAGE sh -c 'kill -9 $$'; echo "-> $?"; docker run --rm $IMAGE sh -c 'kill -TERM $$; sleep 1'; echo "-> $?"
docker run --rm $IMAGE nosuch 2>/dev/null; echo "-> $?"; docker run --rm $IMAGE /etc/hostname 2>/dev/null; echo "-> $?"; docker run --rm --nosuch $IMAGE; echo "-> $?"
echo in | docker run --rm -i $IMAGE cat; echo in | docker run --rm $IMAGE cat; echo "-> $?"
seq 1 20000 | docker run --rm -i $IMAGE wc -l; head -c 3000000 /dev/zero | docker run --rm -i $IMAGE wc -c
docker run --rm $IMAGE sh -c 'yes | head -c 2000000' | wc -c; docker run --rm $IMAGE sh -c 'yes | head -c 100000' 2>/dev/null | head -1
docker run --rm -i $IMAGE sh -c 'read x; echo got $x' <<<word
docker run -d --name s4 $IMAGE sh -c 'while read x; do echo "<$x>"; done' >/dev/null; sleep 0.3; docker logs s4; docker inspect -f '{{.State.Status}}' s4; docker rm s4 >/dev/null
docker create -i --name s6 $IMAGE cat >/dev/null; echo hello | docker start -ai s6; echo "-> $?"; docker rm s6 >/dev/null
docker create --name s7 $IMAGE sh -c 'echo o; echo e >&2; exit 6' >/dev/null; docker start -a s7; echo "-> $?"; docker start -a s7 2>/dev/null; docker rm s7 >/dev/null
docker run --rm -a stdout $IMAGE sh -c 'echo o; echo e >&2'; docker run --rm -a stderr $IMAGE sh -c 'echo o; echo e >&2'
docker run -d --name s8 $IMAGE sleep 1000 >/dev/null
docker exec s8 sh -c 'exit 11'; echo "-> $?"; echo piped | docker exec -i s8 cat; echo piped | docker exec s8 cat; docker exec -d s8 touch /d; sleep 0.3; docker exec s8 ls /d
docker exec -e V=1 -e W s8 sh -c 'echo $V-$W'; W=2 docker exec -e W s8 sh -c 'echo $W'; docker exec -w /tmp -u 1:1 s8 sh -c 'pwd; id -u'; docker exec --env-file /dev/null s8 true
docker exec s8 sh -c 'kill -9 $$'; echo "-> $?"; timeout 1 docker exec s8 sleep 5; echo "-> $?"
docker pause s8; timeout 2 docker exec s8 true; echo "-> $?"; docker unpause s8
docker top s8 | tail -1 | awk '{print $NF}'; docker top s8 -o pid,comm | tail -1 | awk '{print $2}'
docker kill -s HUP s8; sleep 0.3; docker inspect -f '{{.State.Running}}' s8; docker kill s8; docker exec s8 true; echo "-> $?"; docker rm s8
docker kill nosuch 2>/dev/null; echo "-> $?"; docker kill -s nosuch s8 2>/dev/null; echo "-> $?"
