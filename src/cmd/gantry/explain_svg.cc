// SPDX-License-Identifier: Apache-2.0
//
// gantry explain --svg (SVG 1.1): the text's sections as boxes, the chain as a row of them with
// arrows. Everything that comes from outside is escaped: the picture may be opened in a browser.
#include <algorithm>

#include "base/text.h"
#include "cmd/gantry/explain.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/table.h"

namespace gantry::cli {
namespace {

using formats::Json;

constexpr size_t kLineHeight = 16;
constexpr size_t kCharacterWidth = 8;  // of a 13 pixel monospaced font, rounded up
constexpr size_t kMargin = 12;

std::string EscapeXml(std::string_view text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '"':
        out.append("&quot;");
        break;
      default:
        // Control characters can't stand in XML at all.
        out.push_back(static_cast<unsigned char>(c) < 0x20 ? ' ' : c);
    }
  }
  return out;
}

std::string SvgText(size_t x, size_t y, std::string_view style, std::string_view text) {
  return fmt::format("<text x=\"{}\" y=\"{}\" xml:space=\"preserve\"{}>{}</text>\n", x, y, style,
                     EscapeXml(text));
}

std::string SvgBox(size_t x, size_t y, size_t width, size_t height, std::string_view fill) {
  return fmt::format(
      "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"6\" fill=\"{}\" "
      "stroke=\"#456\"/>\n",
      x, y, width, height, fill);
}

struct SvgSection {
  std::string title;
  std::vector<std::string> lines;
};

// The text's sections: a title stands alone behind an empty line, its lines are moved in.
std::vector<SvgSection> SectionsOf(const std::string& text) {
  std::vector<SvgSection> sections;
  for (const std::string& line : Split(text, '\n')) {
    if (line.empty()) continue;
    if (line[0] != ' ') {
      sections.push_back({line, {}});
    } else if (!sections.empty()) {
      sections.back().lines.push_back(line.substr(2));
    }
  }
  return sections;
}

std::string ChainPicture(const Json& chain, size_t y) {
  constexpr size_t kWidth = 170, kGap = 40, kHeight = 48;
  std::string out;
  size_t x = kMargin;
  for (const Json& link : chain.items()) {
    if (x > kMargin) {
      out +=
          fmt::format("<path d=\"M{} {} h{} m-6 -4 l6 4 l-6 4\" stroke=\"#456\" fill=\"none\"/>\n",
                      x - kGap, y + kHeight / 2, kGap - 2);
    }
    out += SvgBox(x, y, kWidth, kHeight, "#dbe9f6");
    out += SvgText(x + kMargin, y + 20, " font-weight=\"bold\"", link["Role"].AsString());
    out += SvgText(x + kMargin, y + 38, "", fmt::format("pid {}", link["Pid"].AsInt()));
    x += kWidth + kGap;
  }
  return out;
}

}  // namespace

std::string ExplainAsSvg(const Json& page) {
  std::vector<SvgSection> sections = SectionsOf(ExplainAsText(page));
  size_t columns = 100;
  for (const SvgSection& section : sections) {
    columns = std::max(columns, CountCharacters(section.title));
    for (const std::string& line : section.lines) {
      columns = std::max(columns, CountCharacters(line));
    }
  }
  size_t width = columns * kCharacterWidth + 4 * kMargin;
  size_t y = kMargin + kLineHeight;
  std::string body = SvgText(kMargin, y, " font-weight=\"bold\"", sections[0].title);
  y += kMargin;
  body += ChainPicture(page["Chain"], y);
  y += 48 + kMargin;
  for (size_t i = 1; i < sections.size(); ++i) {
    const SvgSection& section = sections[i];
    size_t height = (section.lines.size() + 1) * kLineHeight + kMargin;
    body += SvgBox(kMargin, y, width - 2 * kMargin, height, "#f7f7f2");
    body += SvgText(2 * kMargin, y + kLineHeight, " font-weight=\"bold\"", section.title);
    for (size_t line = 0; line < section.lines.size(); ++line) {
      body += SvgText(2 * kMargin, y + (line + 2) * kLineHeight, "", section.lines[line]);
    }
    y += height + kMargin;
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" "
      "font-family=\"monospace\" font-size=\"13\">\n{}</svg>\n",
      width, y, body);
}

}  // namespace gantry::cli
