# SPDX-License-Identifier: Apache-2.0
# Networks, aliases, addresses.
docker network create --subnet 172.31.92.0/24 --ip-range 172.31.92.128/25 --gateway 172.31.92.1 -o com.docker.network.bridge.enable_icc=true n1 >/dev/null
docker network create --internal --label a=b n2 >/dev/null
docker run -d --name w1 --network n1 --network-alias svc --ip 172.31.92.10 $IMAGE sh -c 'echo hello | nc -l -p 80' >/dev/null
docker run --rm --network n1 $IMAGE sh -c 'ip -4 -o addr show eth0 | tr -s " " | cut -d" " -f4; ip route | head -1; nc -w 3 svc 80 </dev/null'
docker run -d --name w2 --network n1 $IMAGE sleep 1000 >/dev/null
docker exec w2 sh -c 'nslookup w1 2>/dev/null | grep -c 172.31.92.10; ping -c 1 -W 2 svc >/dev/null && echo reached; cat /etc/resolv.conf | grep nameserver'
docker network connect --alias other --ip 172.31.92.20 n1 w2; echo "-> $?"
docker network connect --alias other n2 w2; echo "-> $?"
docker network connect n2 w2; echo "-> $?"
docker exec w2 ls /sys/class/net | sort
docker inspect -f '{{range $k, $v := .NetworkSettings.Networks}}{{$k}} {{len $v.Gateway | lt 6}} {{end}}' w2
docker network disconnect n2 w2; docker network disconnect n2 w2; echo "-> $?"
docker network inspect -f '{{.Internal}} {{json .Labels}} {{json .Options}} {{.EnableIPv6}}' n2
docker network inspect -f '{{json .IPAM.Config}} {{len .Containers}}' n1
docker network ls --filter label=a=b --format '{{.Name}}'; docker network ls --filter name=n1 -q --no-trunc | wc -c
docker run --rm --network n1 --ip 172.31.92.10 $IMAGE true; echo "-> $?"
docker run --rm --network n1 --ip 10.0.0.1 $IMAGE true 2>/dev/null; echo "-> $?"
docker run --rm --network none $IMAGE ip -4 -o addr | cut -d' ' -f2,3
docker run --rm --network container:w2 $IMAGE hostname | grep -c .
docker run --rm --add-host host.docker.internal:host-gateway $IMAGE grep -c host.docker.internal /etc/hosts
docker run --rm --dns 192.0.2.9 --dns-search example.com --dns-option ndots:3 $IMAGE sort /etc/resolv.conf | grep -v '^#' | sort
docker run --rm -h me --domainname example.org $IMAGE sh -c 'hostname; hostname -f; tail -1 /etc/hosts | tr "\t" " " | cut -d" " -f2-'
docker run -d --name w3 -P --expose 8080 $IMAGE sleep 1000 >/dev/null; docker port w3 | sed 's/:[0-9]*$/:PORT/' | sort; docker port w3 8080/tcp | wc -l
docker run --rm -p 127.0.0.1:18493:80 --name w4 -d $IMAGE sh -c 'echo hi | nc -l -p 80' >/dev/null; docker run --rm -p 127.0.0.1:18493:80 $IMAGE true 2>&1 | grep -o 'port is already allocated'
docker run --rm --network host $IMAGE nc -w 3 127.0.0.1 18493 </dev/null
docker network rm n1; echo "-> $?"
docker rm -f w1 w2 w3 w4 >/dev/null 2>&1; docker network rm n1 n2; docker network rm n1; echo "-> $?"
docker network create --subnet 172.31.92.0/24 n3 >/dev/null; docker network create --subnet 172.31.92.0/25 n4 2>&1 | grep -o 'Pool overlaps'; docker network rm n3
docker network create -d nosuch n5; echo "-> $?"
