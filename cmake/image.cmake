# SPDX-License-Identifier: Apache-2.0
# The embedded image: an ordinary OCI archive from Debian's busybox-static. It enters a running
# gantry through the ordinary load path.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
find_program(BUSYBOX busybox REQUIRED)

set(GANTRY_BUSYBOX_IMAGE ${CMAKE_BINARY_DIR}/share/gantry-busybox.tar)
add_custom_command(OUTPUT ${GANTRY_BUSYBOX_IMAGE}
  COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tools/make_busybox_image ${BUSYBOX}
          ${GANTRY_BUSYBOX_IMAGE}
  DEPENDS ${CMAKE_SOURCE_DIR}/tools/make_busybox_image ${BUSYBOX} VERBATIM)
add_custom_target(gantry_busybox_image ALL DEPENDS ${GANTRY_BUSYBOX_IMAGE})
