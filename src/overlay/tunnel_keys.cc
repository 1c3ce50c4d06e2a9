// SPDX-License-Identifier: Apache-2.0
#include "overlay/tunnel_keys.h"

#include <utility>

#include "base/random.h"
#include "formats/json.h"

namespace gantry::overlay {
namespace {

using formats::Json;
using formats::JsonReader;
using networks::TunnelKey;
using networks::TunnelKeys;

constexpr uint32_t kFirstSpi = 256;  // the smaller ones are reserved (RFC 4303 section 2.1)
constexpr size_t kSecretBytes = 32;

Json EncodeKey(const TunnelKey& key) {
  return Json::MakeObject({{"spi", key.spi}, {"secret", key.secret}});
}

void ReadKey(JsonReader& reader, TunnelKey* key) {
  reader.Field("spi", &key->spi);
  reader.Field("secret", &key->secret);
  if (key->spi < kFirstSpi) reader.Fail("spi", "is none");
  bool fine = key->secret.size() == 2 * kSecretBytes &&
              key->secret.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!fine) reader.Fail("secret", "is none");
}

TunnelKey NewKey(const Taken& taken) {
  TunnelKey key;
  do {
    key.spi = static_cast<uint32_t>(RandomU64());
  } while (key.spi < kFirstSpi || taken(key.spi));
  key.secret = RandomHex(kSecretBytes);
  return key;
}

}  // namespace

std::string EncodeKeys(const DatedKeys& dated) {
  const TunnelKeys& keys = dated.keys;
  Json json = Json::MakeObject({{"since", FormatRfc3339Nano(dated.since)},
                                {"current", EncodeKey(keys.current)},
                                {"next", EncodeKey(keys.next)}});
  if (keys.previous) json.Set("previous", EncodeKey(*keys.previous));
  return json.Dump();
}

Result<DatedKeys> DecodeKeys(std::string_view text) {
  Json json = TRY_WITH(Json::Parse(text), "reading a host's keys");
  JsonReader reader(json, "keys");
  DatedKeys dated;
  std::string since;
  reader.Field("since", &since);
  auto time = ParseRfc3339(since);
  if (time.ok()) {
    dated.since = *time;
  } else {
    reader.Fail("since", time.error().message());
  }
  TunnelKeys& keys = dated.keys;
  reader.Object("current", [&](JsonReader& inner) { ReadKey(inner, &keys.current); });
  reader.Object("next", [&](JsonReader& inner) { ReadKey(inner, &keys.next); });
  reader.Object("previous", [&](JsonReader& inner) { ReadKey(inner, &keys.previous.emplace()); });
  if (keys.current.spi == 0) reader.Fail("current", "is missing");
  if (keys.next.spi == 0) reader.Fail("next", "is missing");
  TRY(reader.Finish());
  return dated;
}

TunnelKeys NewKeys(const Taken& taken) {
  TunnelKeys keys;
  keys.current = NewKey(taken);
  keys.next = NewKey([&](uint32_t spi) { return taken(spi) || spi == keys.current.spi; });
  return keys;
}

TunnelKeys NextKeys(const TunnelKeys& keys, const Taken& taken) {
  TunnelKeys moved;
  moved.previous = keys.current;
  moved.current = keys.next;
  moved.next = NewKey(
      [&](uint32_t spi) { return taken(spi) || spi == keys.next.spi || spi == keys.current.spi; });
  return moved;
}

}  // namespace gantry::overlay
