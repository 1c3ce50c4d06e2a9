# SPDX-License-Identifier: Apache-2.0
# What scripts take out of `inspect`, `ps`, `images`, `network` and `volume` with templates.
docker network create --subnet 172.31.91.0/24 tnet >/dev/null
docker volume create --label team=a tvol >/dev/null
docker run -d --name t1 --hostname box --network tnet --ip 172.31.91.7 --network-alias web -p 127.0.0.1:18491:80 -p 127.0.0.1:18492:81/udp \
  -e 'A=two words' -l app=shop -l 'com.example.empty=' -v tvol:/data -v "$PWD:/src:ro" --tmpfs /scratch:size=1m \
  --restart on-failure:2 --memory 64m --cpus 0.5 --cap-add NET_ADMIN --cap-drop MKNOD --ulimit nofile=512:1024 --log-opt max-size=1m \
  --health-cmd 'true' --health-interval 1h --dns 192.0.2.1 --add-host db:192.0.2.2 --stop-signal SIGINT --stop-timeout 3 $IMAGE sleep 1000 >/dev/null
i() { echo "== $1"; docker inspect -f "$1" t1; echo "-> $?"; }
i '{{.Name}} {{.State.Status}} {{.State.Running}} {{.State.ExitCode}} {{.RestartCount}}'
i '{{range .NetworkSettings.Networks}}{{.IPAddress}}/{{.IPPrefixLen}} {{.Gateway}}{{end}}'
i '{{.NetworkSettings.Networks.tnet.IPAddress}}'
i '{{index .NetworkSettings.Networks "tnet" "IPAddress"}}'
i '{{(index (index .NetworkSettings.Ports "80/tcp") 0).HostPort}}'
i '{{range $p, $conf := .NetworkSettings.Ports}}{{$p}} -> {{(index $conf 0).HostIp}}:{{(index $conf 0).HostPort}};{{end}}'
i '{{json .NetworkSettings.Ports}}'
i '{{range $k, $v := .Config.Labels}}{{$k}}={{$v}},{{end}}'
i '{{index .Config.Labels "app"}}|{{index .Config.Labels "com.example.empty"}}|{{index .Config.Labels "nosuch"}}|'
i '{{range .Config.Env}}{{println .}}{{end}}'
i '{{join .Config.Cmd " "}} {{len .Config.Cmd}} {{.Path}} {{join .Args ","}}'
i '{{range .Mounts}}{{if eq .Type "volume"}}{{.Name}}:{{.Destination}}:{{.RW}}{{end}}{{end}}'
i '{{range .Mounts}}{{if and (eq .Type "bind") (not .RW)}}{{.Destination}} {{.Mode}} {{.Propagation}}{{end}}{{end}}'
i '{{len .HostConfig.Binds}} {{json .HostConfig.Tmpfs}}'
i '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.MemorySwap}} {{.HostConfig.CpuShares}}'
i '{{json .HostConfig.CapAdd}} {{json .HostConfig.CapDrop}} {{json .HostConfig.Ulimits}}'
i '{{json .HostConfig.RestartPolicy}} {{json .HostConfig.LogConfig}}'
i '{{json .HostConfig.PortBindings}}'
i '{{json .HostConfig.Dns}} {{json .HostConfig.ExtraHosts}} {{.HostConfig.NetworkMode}} {{.HostConfig.ShmSize}}'
i '{{json .Config.Healthcheck}} {{.State.Health.FailingStreak}}'
i '{{.Config.StopSignal}} {{.Config.StopTimeout}} {{.Config.Hostname}} {{json .Config.ExposedPorts}}'
i '{{if .State.Running}}up{{else if .State.Paused}}paused{{else}}down{{end}}'
i '{{if or .State.Paused .State.OOMKilled}}bad{{else}}good{{end}}'
i '{{printf "%-10s|%5d|%q|%v|%x" .Config.Hostname .HostConfig.Memory .Path .State.Running 255}}'
i '{{split .Config.Image ":"}} {{index (split .Config.Image ":") 1}} {{upper .Path}} {{lower "ABC"}} {{title "abc"}} {{pad "x" 1 2}}| {{truncate .Config.Image 4}}'
i '{{slice .Id 0 0}}{{len .Id}} {{len (slice .Id 0 12)}} {{slice .Name 1}}'
i '{{with .State.Health}}{{.Status}}{{else}}none{{end}}'
i '{{with index .NetworkSettings.Networks "nosuch"}}there{{else}}not there{{end}}'
i '{{range $i, $m := .Config.Cmd}}{{if $i}},{{end}}{{$i}}:{{$m}}{{else}}empty{{end}}'
i '{{$n := .Name}}{{range .Config.Cmd}}{{$n}} {{.}} {{$.Config.Hostname}};{{end}}'
i '{{define "x"}}<{{.}}>{{end}}{{template "x" .Path}}{{block "y" .Name}}[{{.}}]{{end}}'
i '{{- /* c */ -}} {{ .Path -}}   '
i '{{eq .Path "sleep" "other"}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 1 2}} {{not true}} {{and 1 0}} {{or 0 "x"}}'
i '{{len .Mounts}} {{len .Config.Env}} {{len .NetworkSettings.Networks}}'
i '{{html "<a>"}} {{js "it'"'"'s"}} {{urlquery "a b&c"}} {{print 1 2 "x" 3}} {{println "y"}}'
i '{{.HostConfig.Memory | printf "%v"}} {{1.5 | printf "%.2f"}} {{printf "%s-%d" .Path 3}} {{printf "%t" .State.Running}} {{printf "%05d|%+d|%8.3f|%-4s|%4s|" 42 1 2.5 "a" "b"}}'
i '{{index .Config.Labels "nosuch"}}|{{index .NetworkSettings.Networks "nosuch"}}|{{.Config.Labels.nosuch}}'
i '{{if index .Config.Labels "nosuch"}}yes{{else}}no{{end}} {{eq (index .Config.Labels "nosuch") ""}} {{eq (index .Config.Labels "app") "shop"}}'
i '{{range .Config.Env}}{{if eq (index (split . "=") 0) "A"}}{{index (split . "=") 1}}{{end}}{{end}}'
i '{{range $i, $e := .Config.Env}}{{if lt $i 1}}{{$e}}{{break}}{{end}}{{end}} {{range .Config.Cmd}}{{if eq . "sleep"}}{{continue}}{{end}}{{.}}{{end}}'
i '{{json .State.Health.Log}}{{json .GraphDriver.Name | len | lt 2}}'
i '{{.Nope}}'
i '{{.State.Nope}}'
i '{{index .Config.Cmd 9}}'
i '{{range .Path}}{{end}}'
i '{{nosuch .Path}}'
i '{{.Path'
i '{{if}}x{{end}}'
i '{{end}}'
i 'no template'
docker run --name t2 -v "$PWD:/src" --tmpfs /scratch $IMAGE true
j() { echo "== $1"; docker inspect -f "$1" t2; echo "-> $?"; }
j '{{if .State.Health}}{{.State.Health.Status}}{{else}}no health{{end}} {{json .State.Health}} {{.State.Health}}'
j '{{.State.Health.Status}}'
j '{{range .Mounts}}[{{.Name}}|{{.Driver}}|{{.Type}}|{{.Destination}}]{{end}}'
j '{{json .Config.Healthcheck}} [{{.Config.StopSignal}}] {{json .Config.StopTimeout}} {{json .Config.ExposedPorts}} {{len .Config.ExposedPorts}} {{json .Config.OnBuild}}'
j '{{json .HostConfig.Init}} {{json .HostConfig.Mounts}} {{json .HostConfig.Sysctls}} {{json .HostConfig.StorageOpt}} {{.HostConfig.Runtime | len | lt 2}}'
j '{{json .SizeRw}} {{with .NetworkSettings.Networks.nosuch}}there{{else}}not there{{end}} {{with index .NetworkSettings.Networks "bridge"}}{{.IPPrefixLen}}{{end}}'
j '{{.NetworkSettings.Networks.nosuch.IPAddress}}'
j '{{.NetworkSettings.IPAddress | len}} {{.NetworkSettings.Gateway | len}} {{.NetworkSettings.MacAddress | len}} {{.NetworkSettings.IPPrefixLen}}'
docker volume create t3 >/dev/null; docker volume inspect -f '{{json .Labels}} {{json .Options}} {{.Labels.x}}' t3; docker volume rm t3
docker image inspect -f '[{{.Author}}|{{.Variant}}|{{json .Config.Entrypoint}}|{{.Config.User}}|{{json .Config.Volumes}}|{{.Config.Labels.x}}]' $IMAGE
docker network inspect -f '{{range .IPAM.Config}}[{{.IPRange}}|{{.Gateway | len | lt 3}}]{{end}} {{json .Options.nosuch}} {{with .Containers.nosuch}}there{{else}}not there{{end}}' tnet
docker rm t2
docker inspect -f '{{.Name}}' t1 nosuch; echo "-> $?"
docker inspect --type volume -f '{{.Name}} {{.Labels.team}} {{.Driver}}' tvol
docker inspect -f '{{.Name}} {{.Driver}} {{(index .IPAM.Config 0).Subnet}}' tnet
docker network inspect -f '{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}' tnet
docker image inspect -f '{{.Os}}/{{.Architecture}} {{json .Config.Cmd}} {{len .RootFS.Layers}} {{json .RepoTags}}' $IMAGE
docker ps --format '{{.Names}}|{{.Image}}|{{.State}}|{{.Ports}}|{{.Networks}}|{{len .Mounts}}|{{.Labels}}|{{.LocalVolumes}}|{{.Command}}'
docker ps --format '{{json .}}' | grep -oE '"[A-Z][A-Za-z]+":' | sort
docker ps --no-trunc --format 'table {{.Names}}\t{{.Command}}\t{{.Label "app"}}'
docker ps --format '{{if eq .State "running"}}{{.Names}} ok{{end}}' --filter name=t1
docker volume ls --format '{{.Name}} {{.Driver}} {{.Labels}} {{.Scope}} {{.Label "team"}}' --filter name=tvol
docker network ls --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}} {{.IPv6}}' --filter name=tnet
docker images --format '{{.Repository}}:{{.Tag}} {{.Digest}}' $IMAGE
docker version --format '{{.Client.Os}} {{.Server.Os}} {{json .Server.Arch}}'
docker info --format '{{.OSType}} {{.Containers}} {{.ContainersRunning}} {{.Images}} {{len .Plugins.Volume}} {{.Swarm.LocalNodeState}} {{.LoggingDriver}}'
docker rm -f t1 >/dev/null; docker network rm tnet; docker volume rm tvol
