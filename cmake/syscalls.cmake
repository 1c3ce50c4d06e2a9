# SPDX-License-Identifier: Apache-2.0
# The table of system call names, made at build time by a tool that asks libseccomp (LGPL), so that
# the static runtime does not link it. The tests compare our filters with libseccomp's.
add_executable(gantry_syscall_table ${CMAKE_SOURCE_DIR}/tools/syscall_table/main.cc)
target_link_libraries(gantry_syscall_table PRIVATE seccomp)
set(table ${CMAKE_BINARY_DIR}/generated/syscall_table.inc)
file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/generated)
add_custom_command(OUTPUT ${table} COMMAND gantry_syscall_table > ${table}
                   DEPENDS gantry_syscall_table VERBATIM)
add_custom_target(gantry_syscall_table_file DEPENDS ${table})
add_dependencies(gantry_runtime gantry_syscall_table_file)
target_include_directories(gantry_runtime PRIVATE ${CMAKE_BINARY_DIR}/generated)
if(TARGET gantry_runtime_test)
  target_link_libraries(gantry_runtime_test PRIVATE seccomp)
endif()

# The engine's default profiles, for that comparison.
if(TARGET gantry_runtime_test)
  add_executable(gantry_seccomp_profiles ${CMAKE_SOURCE_DIR}/tools/seccomp_profiles/main.cc
                 ${CMAKE_SOURCE_DIR}/src/engine/seccomp_profile.cc)
  target_link_libraries(gantry_seccomp_profiles PRIVATE gantry_oci gantry_formats gantry_base)
  set(profiles ${CMAKE_BINARY_DIR}/generated/seccomp_profiles.inc)
  add_custom_command(OUTPUT ${profiles} COMMAND gantry_seccomp_profiles > ${profiles}
                     DEPENDS gantry_seccomp_profiles VERBATIM)
  add_custom_target(gantry_seccomp_profiles_file DEPENDS ${profiles})
  add_dependencies(gantry_runtime_test gantry_seccomp_profiles_file)
  target_include_directories(gantry_runtime_test PRIVATE ${CMAKE_BINARY_DIR}/generated)
endif()
