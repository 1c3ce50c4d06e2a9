# SPDX-License-Identifier: Apache-2.0
# Waiting for health, for an end, for a restart.
wait_for() { for _ in $(seq 100); do [ "$(docker inspect -f "$1" $2)" = "$3" ] && { echo "$2 is $3"; return; }; sleep 0.1; done; echo "$2 never $3"; }
docker run -d --name h1 --health-cmd 'test -f /ok' --health-interval 300ms --health-retries 2 --health-timeout 1s --health-start-period 0s $IMAGE sleep 1000 >/dev/null
docker inspect -f '{{.State.Health.Status}}' h1
wait_for '{{.State.Health.Status}}' h1 unhealthy
docker ps --filter health=unhealthy --format '{{.Names}} {{.Status}}'
docker exec h1 touch /ok; wait_for '{{.State.Health.Status}}' h1 healthy
docker ps --filter health=healthy --format '{{.Names}} {{.Status}}'
docker inspect -f '{{with index .State.Health.Log 0}}{{.ExitCode}} {{printf "%q" .Output}}{{end}} {{.State.Health.FailingStreak}}' h1
docker stop -t 1 h1; docker inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.State.Health.Status}}' h1
docker run -d --name h2 --restart on-failure:2 $IMAGE sh -c 'exit 5' >/dev/null; wait_for '{{.State.Status}} {{.RestartCount}}' h2 'exited 2'
docker inspect -f '{{.State.ExitCode}} {{.State.Restarting}}' h2; docker wait h2
docker run -d --name h3 --restart always $IMAGE sleep 1000 >/dev/null; docker exec h3 kill -9 1; docker exec h3 sh -c 'kill -9 -1' ; docker kill h3; sleep 1; docker inspect -f '{{.State.Running}} {{.RestartCount}}' h3
docker start h3; docker stop -t 0 h3; sleep 1; docker inspect -f '{{.State.Running}}' h3; docker update --restart no h3; docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' h3
(sleep 1; docker stop -t 0 h4 >/dev/null) & docker run --name h4 $IMAGE sleep 1000; echo "-> $?"; docker wait h4 h2; docker wait nosuch; echo "-> $?"
docker run -d --rm --name h5 $IMAGE sh -c 'sleep 1; exit 9' >/dev/null; docker wait h5; sleep 0.5; docker inspect h5 2>&1 | tail -1
docker run --rm --restart always $IMAGE true; echo "-> $?"
docker run -d --name h6 --no-healthcheck $IMAGE sleep 1000 >/dev/null; docker inspect -f '{{json .State.Health}} {{json .Config.Healthcheck}}' h6
docker run -d --name h7 --init --stop-signal SIGUSR1 $IMAGE sh -c 'trap "echo got; exit 4" USR1; while :; do sleep 0.1; done' >/dev/null; sleep 0.5; docker stop h7; docker logs h7; docker inspect -f '{{.State.ExitCode}}' h7
docker rm -f h1 h2 h3 h4 h6 h7
