# SPDX-License-Identifier: Apache-2.0
# Code from protos/: gantry_protos holds protobuf and gRPC classes for the daemons;
# gantry_protos_plain holds plain structs without a protobuf library, for the static shim and the
# command line (tools/protoc-gen-plain), from the files named in GANTRY_PLAIN_PROTOS.
set(GANTRY_PLAIN_PROTOS
    containerd/cgroups/v1/metrics.proto
    containerd/cgroups/v2/metrics.proto
    containerd/events/task.proto
    containerd/runc/v1/options.proto
    containerd/runtime/bootstrap/v1/bootstrap.proto
    containerd/runtime/sandbox/v1/sandbox.proto
    containerd/runtimeoptions/v1/api.proto
    containerd/services/events/ttrpc/v1/events.proto
    containerd/task/v2/shim.proto
    containerd/services/content/v1/content.proto
    containerd/task/v3/shim.proto
    containerd/types/event.proto
    containerd/types/introspection.proto
    containerd/types/metrics.proto
    containerd/types/mount.proto
    containerd/types/platform.proto
    containerd/types/task.proto
    fsutil/wire.proto
    google/rpc/status.proto
    moby/buildkit/caps.proto
    moby/buildkit/control.proto
    moby/buildkit/ops.proto
    moby/buildkit/secrets.proto
    moby/buildkit/worker.proto
    moby/filesync/auth.proto
    moby/filesync/filesync.proto
    moby/sshforward/ssh.proto)

# Services that are only spoken over ttrpc have no gRPC classes.
set(GANTRY_TTRPC_PROTOS
    containerd/runtime/sandbox/v1/sandbox.proto
    containerd/services/events/ttrpc/v1/events.proto
    containerd/task/v2/shim.proto
    containerd/task/v3/shim.proto)

function(gantry_protos)
  file(GLOB_RECURSE protos CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR}/protos
       ${CMAKE_SOURCE_DIR}/protos/*.proto)
  if(NOT protos)
    return()
  endif()
  set(out ${CMAKE_BINARY_DIR}/protos)
  set(plain ${CMAKE_BINARY_DIR}/protos_plain)
  file(MAKE_DIRECTORY ${out} ${plain})
  set(sources)
  set(messages)
  set(plain_sources)
  set(plain_generator ${CMAKE_SOURCE_DIR}/tools/protoc-gen-plain)
  foreach(proto ${protos})
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(generated ${out}/${stem}.pb.cc)
    set(arguments --cpp_out=${out})
    file(STRINGS ${CMAKE_SOURCE_DIR}/protos/${proto} services REGEX "^service ")
    if(services AND NOT proto IN_LIST GANTRY_TTRPC_PROTOS)
      list(APPEND generated ${out}/${stem}.grpc.pb.cc)
      list(APPEND arguments --grpc_out=${out} --plugin=protoc-gen-grpc=${GRPC_CPP_PLUGIN})
    endif()
    add_custom_command(OUTPUT ${generated}
      COMMAND protobuf::protoc -I${CMAKE_SOURCE_DIR}/protos ${arguments} ${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/protos/${proto} VERBATIM)
    list(APPEND sources ${generated})
    list(APPEND messages ${out}/${stem}.pb.cc)
    if(NOT proto IN_LIST GANTRY_PLAIN_PROTOS)
      continue()
    endif()
    add_custom_command(OUTPUT ${plain}/${stem}.plain.h ${plain}/${stem}.plain.cc
      COMMAND protobuf::protoc -I${CMAKE_SOURCE_DIR}/protos --plain_out=${plain}
              --plugin=protoc-gen-plain=${plain_generator} ${proto}
      DEPENDS ${CMAKE_SOURCE_DIR}/protos/${proto} ${plain_generator} VERBATIM)
    list(APPEND plain_sources ${plain}/${stem}.plain.cc)
  endforeach()
  add_library(gantry_protos STATIC ${sources})
  target_include_directories(gantry_protos SYSTEM PUBLIC ${out})
  target_link_libraries(gantry_protos PUBLIC gantry_grpc)
  target_compile_options(gantry_protos PRIVATE -w -O1)
  # Most of the time goes into gRPC's headers, so several services are compiled as one file; files of
  # messages can't be, their static names are the same in each.
  set_target_properties(gantry_protos PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 5)
  set_source_files_properties(${messages} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  add_library(gantry_protos_plain STATIC ${plain_sources})
  target_include_directories(gantry_protos_plain PUBLIC ${plain} ${CMAKE_SOURCE_DIR}/src)
  target_compile_options(gantry_protos_plain PRIVATE -w)
endfunction()
