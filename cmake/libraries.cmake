# SPDX-License-Identifier: Apache-2.0
# Third-party libraries, and the one folder (its wrapper) that may use each.
find_package(PkgConfig REQUIRED)
find_package(Protobuf REQUIRED)
find_package(GTest REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(GRPC REQUIRED grpc++)
find_program(GRPC_CPP_PLUGIN grpc_cpp_plugin REQUIRED)

# gRPC linked dynamically costs 12 ms at each start of a program, so everything under it is static:
# pkg-config names the whole closure, and the linker prefers the archives between -Bstatic and
# -Bdynamic.
execute_process(COMMAND pkg-config --static --libs-only-l grpc++ protobuf
                OUTPUT_VARIABLE GANTRY_GRPC_CLOSURE OUTPUT_STRIP_TRAILING_WHITESPACE
                COMMAND_ERROR_IS_FATAL ANY)
separate_arguments(GANTRY_GRPC_CLOSURE)
list(REMOVE_DUPLICATES GANTRY_GRPC_CLOSURE)
list(REMOVE_ITEM GANTRY_GRPC_CLOSURE -lpthread -lm -lrt -ldl -lsystemd)
list(APPEND GANTRY_GRPC_CLOSURE -lgrpc++_reflection)
add_library(gantry_grpc INTERFACE)
target_link_libraries(gantry_grpc INTERFACE
  -Wl,-Bstatic -Wl,--start-group -lgrpc++_reflection ${GANTRY_GRPC_CLOSURE} -Wl,--end-group
  -Wl,-Bdynamic Threads::Threads)

# What a folder links beside the folders that layers.txt names.
set(GANTRY_LIBS_formats crypto)
# Two that are hardly ever used cost no start of a daemon.
set(GANTRY_LIBS_formats_compression isal zstd z -l:liblzma.a -l:libbz2.a)
set(GANTRY_LIBS_formats_gzip -l:libz.a)
set(GANTRY_LIBS_kernel)
set(GANTRY_LIBS_logs ssl crypto)
# Statically: loading it would cost each start of the command line.
set(GANTRY_LIBS_wire ssl crypto -l:libnghttp2.a)
set(GANTRY_LIBS_records sqlite3)
# Passwords: crypt(3) knows bcrypt.
set(GANTRY_LIBS_distribution crypt)
set(GANTRY_LIBS_containerd gantry_grpc)
set(GANTRY_LIBS_client gantry_grpc)
set(GANTRY_LIBS_buildkit gantry_grpc)

# Programs that are linked statically: they start in under a millisecond and depend on nothing.
set(GANTRY_STATIC_PROGRAMS containerd-shim-gantry-v1 gantry-runtime gantry-init gantry-proxy)

# Folders of the runtime alone: it runs for a few milliseconds, so what counts is how many pages of
# its file are mapped, not how fast a loop is.
set(GANTRY_SMALL_FOLDERS runtime runtime/child cmd/gantry-runtime)

# Compiled apart from their folders' batches, so that programs that only read digests don't link
# OpenSSL, whose start-up asks the processor for its features (a virtual machine traps each cpuid).
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/formats/digest_hash.cc
                            ${CMAKE_SOURCE_DIR}/src/oci/chain_id.cc
                            ${CMAKE_SOURCE_DIR}/src/wire/tls.cc
                            ${CMAKE_SOURCE_DIR}/src/wire/grpc_connection.cc
                            PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
