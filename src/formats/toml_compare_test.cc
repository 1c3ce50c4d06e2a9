// SPDX-License-Identifier: Apache-2.0
//
// Python's tomllib reads the same documents: those of tests/fuzz/corpus/toml, made-up ones and such
// with a few bytes changed. Both refuse, or both read the same.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "base/io.h"
#include "formats/toml.h"

namespace gantry::formats {
namespace {

namespace fs = std::filesystem;

constexpr int kDocuments = 6000;

// Answers one line a document: "refused", or its values as Describe() writes them. An integer of
// more than 64 bits is refused, as TOML allows and Python doesn't.
constexpr std::string_view kPeer = R"(
import datetime, json, sys, tomllib

def when(value):
    text = value.isoformat()
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return text
    text = text.replace('+00:00', 'Z')
    if value.microsecond:
        digits = f'.{value.microsecond:06}'
        text = text.replace(digits, digits.rstrip('0'))
    return text

def describe(value):
    if isinstance(value, bool):
        return 'true' if value else 'false'
    if isinstance(value, int):
        if not -2**63 <= value < 2**63:
            raise ValueError
        return str(value)
    if isinstance(value, float):
        return 'nan' if value != value else '%.17g' % value + 'f'
    if isinstance(value, str):
        return '"' + value.encode().hex() + '"'
    if isinstance(value, list):
        return '[' + ','.join(map(describe, value)) + ']'
    if isinstance(value, dict):
        return '{' + ','.join(describe(k) + ':' + describe(v) for k, v in value.items()) + '}'
    return '"' + when(value).encode().hex() + '"'

for number in range(int(sys.argv[2])):
    text = open(f'{sys.argv[1]}/{number}', 'rb').read()
    try:
        print(describe(tomllib.loads(text.removeprefix(b'\xef\xbb\xbf').decode())))
    except (ValueError, RecursionError):
        print('refused')
)";

std::string Hex(std::string_view text) {
  std::string hex = "\"";
  for (char c : text) hex += fmt::format("{:02x}", static_cast<unsigned char>(c));
  return hex + '"';
}

std::string Describe(const Json& value) {
  if (value.is_bool()) return value.AsBool() ? "true" : "false";
  if (value.is_integer()) return std::to_string(value.AsInt());
  if (value.is_string()) return Hex(value.AsString());
  std::string text;
  if (value.is_array()) {
    for (const Json& item : value.items()) text += (text.empty() ? "" : ",") + Describe(item);
    return "[" + text + "]";
  }
  if (value.is_object()) {
    for (const auto& [key, inner] : value.members()) {
      text += (text.empty() ? "" : ",") + Hex(key) + ":" + Describe(inner);
    }
    return "{" + text + "}";
  }
  if (std::isnan(value.AsDouble())) return "nan";
  return fmt::format("{:.17g}f", value.AsDouble());
}

// Made-up documents, most of them right; a seed makes the same ones.
class Writer {
 public:
  explicit Writer(unsigned seed) : random_(seed) {}

  std::string Document() {
    std::string text;
    for (unsigned lines = Below(12); lines > 0; --lines) {
      unsigned kind = Below(8);
      if (kind == 0) {
        text += "[" + Key() + "]";
      } else if (kind == 1) {
        text += "[[" + Key() + "]]";
      } else {
        text += Key() + Pick({" = ", "=", "\t=  "}) + Value(0);
      }
      text += Pick({"\n", "\r\n", " # \xc3\xbc comment\n", "\n\n"});
    }
    return text;
  }

  std::string Changed(std::string text) {
    constexpr std::string_view kBytes = "\"'\\[]{}=.,#\n\r\t -_+:0129aeTZxuU\x01\x7f\xc3\xa9\xff";
    for (unsigned changes = 1 + Below(3); changes > 0 && !text.empty(); --changes) {
      size_t at = Below(static_cast<unsigned>(text.size()));
      char byte = kBytes[Below(kBytes.size())];
      unsigned kind = Below(3);
      if (kind == 0) text[at] = byte;
      if (kind == 1) text.insert(at, 1, byte);
      if (kind == 2) text.erase(at, 1 + Below(3));
    }
    return text;
  }

 private:
  unsigned Below(size_t limit) { return static_cast<unsigned>(random_() % limit); }
  std::string Pick(std::initializer_list<const char*> choices) {
    return choices.begin()[Below(choices.size())];
  }
  std::string Key() {
    std::string key = Pick({"a", "b", "c-1", "\"q \\u00e9\"", "'l.x'", "2026", "\"\""});
    while (Below(4) == 0) key += Pick({".", " . "}) + Pick({"a", "b", "d", "'e'"});
    return key;
  }
  std::string Value(int depth) {
    unsigned kind = Below(depth < 3 ? 8 : 6);
    if (kind == 6) {
      std::string items;
      for (unsigned count = Below(4); count > 0; --count) {
        items += Value(depth + 1) + Pick({",", ", ", ",\n", " , # c\n"});
      }
      if (Below(2) == 0 && !items.empty()) items = items.substr(0, items.rfind(','));
      return "[" + items + "]";
    }
    if (kind == 7) {
      std::string members;
      for (unsigned count = Below(4); count > 0; --count) {
        members += (members.empty() ? "" : ", ") + Key() + " = " + Value(depth + 1);
      }
      return "{" + members + "}";
    }
    if (kind < 2) {
      return Pick({"\"a\\tb\"", "'c\\d'", "\"\"\"\nx\\\n  y\"z\"\"\"\"", "'''\nl\nm'''", "\"\"",
                   "\"\\U0001F600\"", "'\xe2\x82\xac'", "\"\"\"\"\"\"", "'''q'''''"});
    }
    if (kind == 2) {
      return Pick({"1979-05-27", "1979-05-27T07:32:00Z", "1979-05-27 07:32:00.123456789-07:30",
                   "07:32:00", "1979-05-27t07:32:00.50", "2024-02-30", "24:00:00",
                   "1979-05-27T07:32:00.0+00:00"});
    }
    return Pick({"0",          "-17",   "1_000",
                 "0xDEADbeef", "0o17",  "0b101",
                 "3.14",       "-1e-3", "6.02E+23",
                 "1_0.0_1",    "inf",   "-nan",
                 "true",       "false", "9223372036854775807",
                 "01",         "1__0",  "9223372036854775808",
                 "yes",        "+0.0",  "-0.0"});
  }

  std::mt19937 random_;
};

TEST(TomlCompare, PythonReadsTheSame) {
  std::vector<std::string> documents;
  fs::path tree = fs::path(__FILE__).parent_path().parent_path().parent_path();
  for (const auto& entry : fs::directory_iterator(tree / "tests/fuzz/corpus/toml")) {
    documents.push_back(*ReadFile(entry.path().string(), 1 << 20));
  }
  ASSERT_GE(documents.size(), 5u);
  Writer writer(20261129);
  while (documents.size() < kDocuments) {
    documents.push_back(writer.Document());
    documents.push_back(writer.Changed(documents.back()));
  }
  char made[] = "/tmp/gantry-toml-XXXXXX";
  std::string top = ::mkdtemp(made);
  for (size_t i = 0; i < documents.size(); ++i) {
    std::ofstream(fmt::format("{}/{}", top, i), std::ios::binary) << documents[i];
  }
  std::ofstream(top + "/peer.py") << kPeer;
  std::string command =
      fmt::format("python3 {0}/peer.py {0} {1} > {0}/answers", top, documents.size());
  ASSERT_EQ(::system(command.c_str()), 0);
  std::ifstream answers(top + "/answers");
  int read = 0;
  for (const std::string& document : documents) {
    std::string theirs;
    ASSERT_TRUE(std::getline(answers, theirs));
    auto json = ParseToml(document);
    std::string ours = json.ok() ? Describe(*json) : "refused";
    // A float that is too large or small is infinite or 0 for Python.
    if (!json.ok() && json.error().message().find("does not fit") != std::string::npos) continue;
    read += json.ok() ? 1 : 0;
    EXPECT_EQ(ours, theirs) << document << "\n" << (json.ok() ? "" : json.error().message());
  }
  EXPECT_GT(read, kDocuments / 5);
  fs::remove_all(top);
}

}  // namespace
}  // namespace gantry::formats
