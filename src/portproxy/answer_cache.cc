// SPDX-License-Identifier: Apache-2.0
#include "portproxy/resolver.h"

namespace gantry::portproxy {
namespace {

constexpr size_t kMaxAnswers = 256;
constexpr size_t kMaxAnswerSize = 4096;
constexpr auto kLongest = std::chrono::minutes(5);

}  // namespace

// An answer to who wants no recursion or has another buffer may be another one.
std::string AnswerCache::KeyOf(const formats::DnsQuery& query) {
  return fmt::format("{}{} {} ", query.recursion_desired ? "r" : "", query.opcode,
                     query.max_size > formats::kDnsPlainSize) +
         LowerCase(query.question);
}

std::string AnswerCache::Find(const formats::DnsQuery& query) {
  auto found = entries_.find(KeyOf(query));
  if (found == entries_.end()) return {};
  auto now = SteadyClock::now();
  const Entry& entry = found->second;
  if (entry.until <= now) {
    entries_.erase(found);
    return {};
  }
  std::string reply = entry.reply;
  auto age = std::chrono::duration_cast<std::chrono::seconds>(now - entry.since);
  formats::AgeDnsReply(&reply, entry.parsed, static_cast<uint32_t>(age.count()));
  formats::SetDnsId(&reply, query.id);
  return reply;
}

void AnswerCache::Keep(const formats::DnsQuery& query, const std::string& reply) {
  if (reply.size() > kMaxAnswerSize) return;
  auto parsed = formats::ParseDnsReply(reply);
  bool lasts =
      parsed.ok() && !parsed->truncated && parsed->least_ttl.value_or(0) > 0 &&
      (parsed->code == formats::DnsCode::kNoError || parsed->code == formats::DnsCode::kNoName);
  if (!lasts) return;
  auto now = SteadyClock::now();
  if (entries_.size() >= kMaxAnswers) {
    std::erase_if(entries_, [&](const auto& item) { return item.second.until <= now; });
    if (entries_.size() >= kMaxAnswers) entries_.clear();
  }
  auto life = std::min<std::chrono::seconds>(std::chrono::seconds(*parsed->least_ttl), kLongest);
  entries_[KeyOf(query)] = {reply, *std::move(parsed), now, now + life};
}

}  // namespace gantry::portproxy
