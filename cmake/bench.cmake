# SPDX-License-Identifier: Apache-2.0
# Programs that are only measured against: `ninja gantry_floor`, never installed.
add_executable(gantry_floor EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/floor/floor.cc)
target_link_options(gantry_floor PRIVATE -static)
set_target_properties(gantry_floor PROPERTIES OUTPUT_NAME floor
                      RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
