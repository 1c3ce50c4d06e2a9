// SPDX-License-Identifier: Apache-2.0
//
// gantry completion bash|zsh|fish: the script that a shell loads. It asks `gantry __complete`, so
// that it never grows old. "PROGRAM" stands for the program's name.
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/output.h"

namespace gantry::cli {
namespace {

// COMP_WORDBREAKS cuts words at ':' and '='; the line is cut at blanks anew, and what is already
// in front of such a character is taken off the answers.
constexpr std::string_view kBash =
    R"SCRIPT(# bash completion of PROGRAM; load it with: . <(PROGRAM completion bash)
_PROGRAM_complete() {
  local line="${COMP_LINE:0:COMP_POINT}" words last answer flags word prefix
  read -r -a words <<<"$line"
  last=
  [[ $line == *[[:space:]] ]] || { last="${words[-1]}"; unset 'words[-1]'; }
  mapfile -t answer < <("${words[0]:-PROGRAM}" __completeNoDesc "${words[@]:1}" "$last" 2>/dev/null)
  COMPREPLY=()
  ((${#answer[@]})) || return
  flags="${answer[-1]#:}"
  unset 'answer[-1]'
  prefix=
  case $last in *[:=]*) prefix="${last%"${last##*[:=]}"}" ;; esac
  for word in "${answer[@]}"; do COMPREPLY+=("${word#"$prefix"}"); done
  ((flags & 2)) && compopt -o nospace 2>/dev/null
  if ((!(flags & 4) && ${#COMPREPLY[@]} == 0)); then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "${last#"$prefix"}")
  fi
}
complete -F _PROGRAM_complete PROGRAM
)SCRIPT";

constexpr std::string_view kZsh = R"SCRIPT(#compdef PROGRAM
# zsh completion of PROGRAM; load it with: . <(PROGRAM completion zsh)
_PROGRAM() {
  local -a answer words_shown
  local line flags word text
  answer=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  flags="${answer[-1]#:}"
  for line in "${(@)answer[1,-2]}"; do
    word="${line%%$'\t'*}"
    text="${line#*$'\t'}"
    [[ $line == *$'\t'* ]] || text=
    words_shown+=("${word//:/\\:}${text:+:$text}")
  done
  if (( ${#words_shown} )); then
    (( flags & 2 )) && _describe 'PROGRAM' words_shown -S '' || _describe 'PROGRAM' words_shown
  elif (( ! (flags & 4) )); then
    _files
  fi
}
if [ "$funcstack[1]" = "_PROGRAM" ]; then _PROGRAM "$PROGRAM"; else compdef _PROGRAM PROGRAM; fi
)SCRIPT";

constexpr std::string_view kFish =
    R"SCRIPT(# fish completion of PROGRAM; load it with: PROGRAM completion fish | source
function __PROGRAM_complete
    set -l words (commandline -opc)
    set -l last (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] "$last" 2>/dev/null)
    test (count $answer) -gt 0; or return
    set -l flags (string replace ':' '' -- $answer[-1])
    set -e answer[-1]
    printf '%s\n' $answer
    if test (count $answer) -eq 0; and test (math "bitand($flags, 4)") -eq 0
        __fish_complete_path "$last"
    end
end
complete -c PROGRAM -f -a '(__PROGRAM_complete)'
)SCRIPT";

}  // namespace

Result<int> CompletionCommand(Cli&, Invocation& call) {
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  const std::string& shell = call.args()[0];
  std::string_view script = shell == "bash"   ? kBash
                            : shell == "zsh"  ? kZsh
                            : shell == "fish" ? kFish
                                              : "";
  if (script.empty()) {
    return InvalidArgument("'{}' is no shell that is known: bash, zsh or fish", shell);
  }
  static constexpr std::string_view kMark = "PROGRAM";
  std::string text(script);
  for (size_t at = 0; (at = text.find(kMark, at)) != std::string::npos;) {
    text.replace(at, kMark.size(), ProgramName());
  }
  PrintText(text);
  return 0;
}

}  // namespace gantry::cli
