# SPDX-License-Identifier: Apache-2.0
# Programs that only measure or are measured against, never installed.
add_custom_target(gantry_bench ALL)
foreach(name floor nothing peak pipeline)
  add_executable(gantry_${name} EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/${name}/${name}.cc)
  set_target_properties(gantry_${name} PROPERTIES OUTPUT_NAME ${name}
                        RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bench)
  add_dependencies(gantry_bench gantry_${name})
endforeach()
foreach(name floor nothing peak)
  target_link_options(gantry_${name} PRIVATE -static)
endforeach()
target_link_libraries(gantry_pipeline PRIVATE isal crypto)
