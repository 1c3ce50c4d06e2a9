# SPDX-License-Identifier: Apache-2.0
# Limits: given, shown, changed, and what the container sees.
docker run --rm --memory 64m --memory-swap 128m --memory-reservation 32m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 100 $IMAGE true; echo "-> $?"
docker run -d --name m1 --memory 64m --cpus 1 --pids-limit 50 --ulimit nofile=123:456 --ulimit core=0 --shm-size 5m --oom-score-adj 100 $IMAGE sleep 1000 >/dev/null
docker exec m1 sh -c 'ulimit -Hn; ulimit -c; df -k /dev/shm | tail -1 | awk "{print \$2}"; cat /proc/1/oom_score_adj'
docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.PidsLimit}} {{.HostConfig.OomScoreAdj}}' m1
docker update --memory 32m --memory-swap 64m --cpus 0.25 --pids-limit 20 m1; docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.MemorySwap}} {{.HostConfig.NanoCpus}} {{.HostConfig.PidsLimit}}' m1
docker update --memory 128m m1; echo "-> $?"
docker update --restart always m1; docker inspect -f '{{.HostConfig.RestartPolicy.Name}}' m1
docker stats --no-stream --format '{{.Name}} {{.Container}}' m1; docker stats --no-stream m1 | head -1 | tr -s ' '
docker stats --no-stream --format 'table {{.Name}}\t{{.MemPerc}}' m1 | head -1; docker stats --no-stream --format '{{json .}}' m1 | tr ',' '\n' | cut -d: -f1 | sort
docker stats --no-stream -a --no-trunc --format '{{.ID}}' | wc -c; docker stats --no-stream nosuch; echo "-> $?"
docker rm -f m1 >/dev/null
docker run --name m2 --memory 8m $IMAGE sh -c 'tail -c 64m /dev/zero | cat >/dev/null; x=$(head -c 60000000 /dev/zero | tr "\0" a); echo ${#x}'; echo "-> $?"; docker rm m2 >/dev/null
for f in '--memory 1m' '--memory 64m --memory-swap 32m' '--cpus 0.001' '--cpu-shares -1' '--pids-limit x' '--shm-size 0x' '--ulimit nofile=5:1' '--cpuset-cpus x' '--memory-swappiness 101' '--blkio-weight 5' '--oom-score-adj 5000' '--cpu-period 1' '--memory 100g --memory-reservation 200g' '--device /dev/nosuch' '--device /dev/null:/x:z' '--security-opt x=y' '--cap-add X' '--sysctl kernel.nosuch=1' '--storage-opt x=1' '--group-add nosuch' '--ipc container:nosuch' '--pid container:nosuch' '--log-opt x=y' '--tmpfs /t:nosuchopt' '--mount type=volume,target=rel' '--mount type=tmpfs,target=/t,tmpfs-size=x' '-v /:/' '-v x:/y:zz' '--stop-timeout x' '--health-retries -1' '-e =x' '-l =x' '-u bad:bad:bad' '-w rel' '--hostname bad_host!' '-p 1:2:3:4' '-p 70000:1' '--link x' '--volumes-from x' '--device-cgroup-rule x' '--platform x/y'; do
  echo "== $f"; docker run --rm $f $IMAGE true 2>/dev/null; echo "-> $?"
done
docker run --rm --device /dev/null:/dev/nil:rwm --device-cgroup-rule 'c 1:3 rwm' --cap-drop ALL --security-opt no-new-privileges --read-only --tmpfs /t:size=1m,mode=1777,noexec --group-add 5 --init --ipc private --uts host --cgroupns private --sysctl net.core.somaxconn=77 -u 1000:1000 $IMAGE sh -c 'id; ls -l /dev/nil | cut -c1; touch /t/x && echo wrote; touch /x 2>&1; cat /proc/sys/net/core/somaxconn; grep -c NoNewPrivs.*1 /proc/self/status; cat /proc/1/comm'
