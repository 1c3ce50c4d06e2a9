// SPDX-License-Identifier: Apache-2.0
#include "formats/toml.h"

#include <memory>
#include <unordered_map>

#include "formats/toml_scalar.h"
#include "formats/toml_scanner.h"

namespace gantry::formats {
namespace {

constexpr size_t kMaxDepth = 256;

// A table while the document is read: who made it decides what may be added to it.
struct Table {
  enum class MadeBy {
    kWay,     // on the way of [a.b.c]: may still get its header or keys
    kHeader,  // [a]: keys that are written with dots elsewhere can't add to it
    kKey,     // a.b = 1: no header can have it
  };
  struct Entry;

  explicit Table(MadeBy by) : made_by(by) {}
  Entry* Find(const std::string& key);
  Entry& Add(const std::string& key, int line);

  MadeBy made_by;
  std::vector<std::unique_ptr<Entry>> entries;
  std::unordered_map<std::string, Entry*> by_key;
};

// Exactly one of the three is there.
struct Table::Entry {
  std::string key;
  int line = 0;
  Json value;                                  // when there is neither of the others
  std::unique_ptr<Table> table;                // [key], or keys with dots
  std::vector<std::unique_ptr<Table>> tables;  // [[key]]

  bool is_value() const { return table == nullptr && tables.empty(); }
};

Table::Entry* Table::Find(const std::string& key) {
  auto found = by_key.find(key);
  return found == by_key.end() ? nullptr : found->second;
}

Table::Entry& Table::Add(const std::string& key, int line) {
  entries.push_back(std::make_unique<Entry>());
  Entry& entry = *entries.back();
  entry.key = key;
  entry.line = line;
  by_key.emplace(key, &entry);
  return entry;
}

// Takes the values out of the table.
Json Convert(Table& table) {
  Json object = Json::MakeObject();
  for (auto& entry : table.entries) {
    Json value;
    if (entry->is_value()) {
      value = std::move(entry->value);
    } else if (entry->table != nullptr) {
      value = Convert(*entry->table);
    } else {
      Json::Array items;
      for (auto& inner : entry->tables) items.push_back(Convert(*inner));
      value = Json(std::move(items));
    }
    // Not Set(), which looks for the key among all; here it is a new one.
    object.mutable_members().emplace_back(entry->key, std::move(value));
  }
  return object;
}

void ListPlaces(const Table& table, TomlPlaces* places) {
  for (const auto& entry : table.entries) {
    places->keys.push_back({entry->key, entry->line, {}});
    if (entry->table != nullptr) ListPlaces(*entry->table, &places->keys.back());
  }
}

class Reader {
 public:
  explicit Reader(TomlScanner scanner) : scanner_(std::move(scanner)) {}

  Result<> Read(Table* document) {
    Table* current = document;
    size_t depth = 0;
    for (scanner_.SkipLines(); !scanner_.at_end(); scanner_.SkipLines()) {
      if (scanner_.peek() == '[') {
        current = TRY(ReadHeader(document, &depth));
      } else {
        TRY(ReadKeyValue(current, depth));
      }
      TRY(scanner_.ExpectLineEnd());
    }
    return {};
  }

 private:
  // [a.b] or [[a.b]]; returns the table that the next keys belong to.
  Result<Table*> ReadHeader(Table* document, size_t* depth) {
    size_t begin = scanner_.position();
    int line = scanner_.line();
    bool of_array = scanner_.Take("[[");
    if (!of_array) scanner_.Take('[');
    auto path = TRY(scanner_.ReadKey());
    if (!scanner_.Take(of_array ? "]]" : "]")) {
      return scanner_.Fault(of_array ? "expected ']]'" : "expected ']'");
    }
    *depth = path.size() + (of_array ? 1 : 0);
    if (*depth > kMaxDepth) return scanner_.FaultAt(begin, "too many levels");
    Table* table = document;
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      table = Enter(table, path[i], line);
      if (table == nullptr) return scanner_.FaultAt(begin, Quoted(path[i], "is not a table"));
    }
    Table::Entry* entry = table->Find(path.back());
    if (of_array) {
      bool extends = entry != nullptr && !entry->tables.empty();
      if (entry != nullptr && !extends) {
        return scanner_.FaultAt(begin, Quoted(path.back(), "is there already"));
      }
      if (!extends) entry = &table->Add(path.back(), line);
      entry->tables.push_back(std::make_unique<Table>(Table::MadeBy::kHeader));
      return entry->tables.back().get();
    }
    if (entry == nullptr) {
      entry = &table->Add(path.back(), line);
      entry->table = std::make_unique<Table>(Table::MadeBy::kHeader);
    } else if (entry->table == nullptr || entry->table->made_by != Table::MadeBy::kWay) {
      return scanner_.FaultAt(begin, Quoted(path.back(), "is there already"));
    }
    entry->table->made_by = Table::MadeBy::kHeader;
    return entry->table.get();
  }

  // A table on the way of a header: made when it is missing, the last one of an array.
  static Table* Enter(Table* table, const std::string& key, int line) {
    Table::Entry* entry = table->Find(key);
    if (entry == nullptr) {
      entry = &table->Add(key, line);
      entry->table = std::make_unique<Table>(Table::MadeBy::kWay);
    }
    return entry->tables.empty() ? entry->table.get() : entry->tables.back().get();
  }

  Result<> ReadKeyValue(Table* table, size_t depth) {
    size_t begin = scanner_.position();
    int line = scanner_.line();
    auto path = TRY(scanner_.ReadKey());
    if (!scanner_.Take('=')) return scanner_.Fault("expected '=' after the key");
    depth += path.size();
    if (depth > kMaxDepth) return scanner_.FaultAt(begin, "too many levels");
    for (size_t i = 0; i + 1 < path.size(); ++i) {
      Table::Entry* entry = table->Find(path[i]);
      if (entry == nullptr) {
        entry = &table->Add(path[i], line);
        entry->table = std::make_unique<Table>(Table::MadeBy::kKey);
      } else if (entry->table == nullptr || entry->table->made_by == Table::MadeBy::kHeader) {
        return scanner_.FaultAt(begin, Quoted(path[i], "can't get more keys here"));
      }
      entry->table->made_by = Table::MadeBy::kKey;
      table = entry->table.get();
    }
    if (table->Find(path.back()) != nullptr) {
      return scanner_.FaultAt(begin, Quoted(path.back(), "is there already"));
    }
    scanner_.SkipBlanks();
    Json value = TRY(ReadValue(depth));
    table->Add(path.back(), line).value = std::move(value);
    return {};
  }

  Result<Json> ReadValue(size_t depth) {
    size_t begin = scanner_.position();
    if (depth > kMaxDepth) return scanner_.Fault("too many levels");
    switch (scanner_.peek()) {
      case '"':
      case '\'':
        return Json(TRY(scanner_.ReadString()));
      case '[':
        return ReadArray(depth);
      case '{':
        return ReadBraces(depth);
      default:
        break;
    }
    std::string_view word = scanner_.ReadWord();
    if (word.empty()) return scanner_.Fault("expected a value");
    auto value = ParseTomlScalar(word);
    if (!value.ok()) return scanner_.FaultAt(begin, value.error().message());
    return value;
  }

  Result<Json> ReadArray(size_t depth) {
    size_t begin = scanner_.position();
    scanner_.Take('[');
    Json::Array items;
    for (scanner_.SkipLines(); !scanner_.Take(']'); scanner_.SkipLines()) {
      if (scanner_.at_end()) return scanner_.FaultAt(begin, "the array does not end");
      items.push_back(TRY(ReadValue(depth + 1)));
      scanner_.SkipLines();
      if (scanner_.Take(',')) continue;
      if (scanner_.peek() != ']') return scanner_.Fault("expected ',' or ']'");
    }
    return Json(std::move(items));
  }

  // A table in one line, to which nothing can be added later; no ',' before its end.
  Result<Json> ReadBraces(size_t depth) {
    scanner_.Take('{');
    Table table(Table::MadeBy::kKey);
    scanner_.SkipBlanks();
    if (scanner_.Take('}')) return Convert(table);
    while (true) {
      TRY(ReadKeyValue(&table, depth));
      scanner_.SkipBlanks();
      if (scanner_.Take('}')) return Convert(table);
      if (!scanner_.Take(',')) return scanner_.Fault("expected ',' or '}'");
    }
  }

  static std::string Quoted(const std::string& key, std::string_view what) {
    return fmt::format("'{}' {}", key, what);
  }

  TomlScanner scanner_;
};

}  // namespace

int TomlPlaces::LineOf(std::initializer_list<std::string_view> path) const {
  const TomlPlaces* place = this;
  for (std::string_view name : path) {
    const TomlPlaces* next = nullptr;
    for (const TomlPlaces& inner : place->keys) {
      if (inner.key == name) next = &inner;
    }
    if (next == nullptr) break;
    place = next;
  }
  return place->line;
}

Result<Json> ParseToml(std::string_view text, TomlPlaces* places) {
  Reader reader(TRY(TomlScanner::Create(text)));
  Table document(Table::MadeBy::kHeader);
  TRY(reader.Read(&document));
  if (places != nullptr) {
    *places = {};
    ListPlaces(document, places);
  }
  return Convert(document);
}

std::string TomlString(std::string_view text) {
  // JSON's escapes are a part of TOML's.
  std::string literal;
  AppendJsonString(&literal, text);
  // The one character that only TOML has to have escaped.
  for (size_t at; (at = literal.find('\x7f')) != std::string::npos;) {
    literal.replace(at, 1, "\\u007f");
  }
  return literal;
}

std::string TomlKey(std::string_view key) {
  constexpr std::string_view kBare =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
  bool bare = !key.empty() && key.find_first_not_of(kBare) == std::string_view::npos;
  return bare ? std::string(key) : TomlString(key);
}

}  // namespace gantry::formats
