// SPDX-License-Identifier: Apache-2.0
//
// Apart from image_spec.cc, since it computes digests: programs that only read documents don't link
// OpenSSL (cmake/libraries.cmake).
#include "oci/image_spec.h"

namespace gantry::oci {

using formats::Digest;

std::vector<Digest> ChainIds(const std::vector<Digest>& diff_ids) {
  std::vector<Digest> chain;
  for (const Digest& diff_id : diff_ids) {
    chain.push_back(chain.empty() ? diff_id
                                  : Digest::Of(chain.back().text() + " " + diff_id.text()));
  }
  return chain;
}

}  // namespace gantry::oci
