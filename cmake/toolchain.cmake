# SPDX-License-Identifier: Apache-2.0
# Compiler flags; ccache and mold where the machine has them.
find_program(CCACHE ccache)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
endif()
find_program(MOLD mold)
if(MOLD)
  add_link_options(-fuse-ld=mold)
endif()

# FMT_STATIC_THOUSANDS_SEPARATOR keeps locales, and so iostream's start-up work, out of programs.
add_compile_definitions(FMT_STATIC_THOUSANDS_SEPARATOR=',' _FILE_OFFSET_BITS=64 _GNU_SOURCE
                        GANTRY_VERSION="${PROJECT_VERSION}")
# g++ 12 gives false alarms: -Wmaybe-uninitialized on variants that are moved from, -Wrestrict on
# strings that get a literal.
add_compile_options(-Wall -Wextra -Werror=return-type -Wno-missing-field-initializers -Wno-maybe-uninitialized
                    -Wno-restrict
                    -ffunction-sections -fdata-sections)
# --as-needed: a shared library that nothing of a program uses is not loaded at its start.
add_link_options(-Wl,--gc-sections -Wl,--as-needed)
if(GANTRY_SANITIZE)
  add_compile_options(-fsanitize=${GANTRY_SANITIZE} -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${GANTRY_SANITIZE})
else()
  add_compile_options(-D_FORTIFY_SOURCE=2 -fstack-protector-strong)
endif()
