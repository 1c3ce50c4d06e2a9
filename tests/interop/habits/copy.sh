# SPDX-License-Identifier: Apache-2.0
# `docker cp` in, out and through pipes.
mkdir -p in/sub; echo a >in/a; echo b >in/sub/b; ln -s a in/link; chmod 640 in/a; touch -d @1000000000 in/a
docker create --name c1 $IMAGE sh -c 'sleep 1000' >/dev/null
docker cp in c1:/tree; echo "-> $?"
docker cp in/. c1:/flat; echo "-> $?"
docker cp in/a c1:/tree/renamed; echo "-> $?"
docker cp in/a c1:/nosuch/dir/; echo "-> $?"
docker start c1 >/dev/null
docker exec c1 sh -c 'cd /; find tree flat | sort; stat -c "%a %Y %u:%g" tree/a; readlink tree/link'
docker cp c1:/tree out; find out | sort; stat -c '%a %Y' out/a
docker cp c1:/tree/. out2; find out2 | sort
docker cp c1:/tree/a -  | tar tf -
docker cp c1:/tree - | tar tf - | sort
tar cf - -C in sub a | docker cp - c1:/; echo "-> $?"
docker exec c1 ls /sub /a
echo no tar | docker cp - c1:/tmp 2>/dev/null; echo "-> $?"
tar cf - -C in a | docker cp - c1:/nosuch; echo "-> $?"
tar cf - -C in a | docker cp - c1:/a; echo "-> $?"
docker cp c1:/tree/link linkout; readlink linkout
docker cp -L c1:/tree/link followed; cat followed
docker cp -a in/a c1:/archived; docker exec c1 stat -c '%a' /archived
docker cp c1:/etc/hostname - | tar tf -
docker cp c1:/nosuch .; echo "-> $?"
docker cp nosuch:/a .; echo "-> $?"
docker cp nosuch c1:/; echo "-> $?"
docker cp c1:/a c1:/b; echo "-> $?"
docker cp in/a in/b; echo "-> $?"
docker cp in c1:/a; echo "-> $?"
docker cp in/a c1:/tree; docker exec c1 cat /tree/a
docker cp - c1:/tmp </dev/null 2>/dev/null; echo "-> $?"
docker cp c1:/proc/self/nosuch .; echo "-> $?"
docker diff c1 | sort
docker rm -f c1 >/dev/null
