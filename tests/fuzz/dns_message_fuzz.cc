// SPDX-License-Identifier: Apache-2.0
//
// DNS packets from containers and from servers; an answer to what was read is read again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "formats/dns_message.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace gantry::formats;  // NOLINT
  std::string packet(reinterpret_cast<const char*>(data), size);
  auto query = ParseDnsQuery(packet);
  if (query.ok()) {
    (void)ParseDnsPointerName(query->name);
    std::string answer =
        EncodeDnsAnswer(*query, DnsCode::kNoError,
                        {DnsPointerRecord(query->name, 600), DnsAddressRecord(Ipv4Address{1}, 5)});
    auto again = ParseDnsReply(answer);
    if (!again.ok() || !SameDnsQuestion(again->question, query->question) ||
        again->least_ttl != 5u || again->id != query->id) {
      std::abort();
    }
    if (!ParseDnsReply(CutDnsReply(answer, *query)).ok()) std::abort();
  }
  auto reply = ParseDnsReply(packet);
  if (reply.ok()) {
    SetDnsId(&packet, 7);
    AgeDnsReply(&packet, *reply, 100);
    auto again = ParseDnsReply(packet);
    if (!again.ok() || again->id != 7 || again->ttl_at != reply->ttl_at) std::abort();
  }
  return 0;
}
