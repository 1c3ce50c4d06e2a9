# SPDX-License-Identifier: Apache-2.0
echo api of $NAME is up
hostname >/www/index.html
exec httpd -f -p 8080 -h /www
