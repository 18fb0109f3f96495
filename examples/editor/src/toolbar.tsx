import { type Editor, useEditorState } from '@tiptap/react'
import { type KeyboardEvent, useState } from 'react'
import { Icon, type IconName } from './icon.tsx'

interface Tool {
  readonly icon: IconName
  readonly label: string
  readonly isOn?: (editor: Editor) => boolean
  readonly run: (editor: Editor) => void
}

const marks: readonly Tool[] = [
  tool('bold', 'Bold', 'bold', (chain) => chain.toggleBold()),
  tool('italic', 'Italic', 'italic', (chain) => chain.toggleItalic()),
  tool('underline', 'Underline', 'underline', (chain) => chain.toggleUnderline()),
  tool('strike', 'Strike through', 'strike', (chain) => chain.toggleStrike()),
  tool('code', 'Code', 'code', (chain) => chain.toggleCode()),
]
const blocks: readonly Tool[] = [
  tool('bullets', 'List', 'bulletList', (chain) => chain.toggleBulletList()),
  tool('numbers', 'Numbered list', 'orderedList', (chain) => chain.toggleOrderedList()),
  tool('tasks', 'Tasks', 'taskList', (chain) => chain.toggleTaskList()),
  tool('quote', 'Quotation', 'blockquote', (chain) => chain.toggleBlockquote()),
  tool('block', 'Block of code', 'codeBlock', (chain) => chain.toggleCodeBlock()),
  tool('rule', 'Line', null, (chain) => chain.setHorizontalRule()),
]
const history: readonly Tool[] = [
  tool('undo', 'Undo', null, (chain) => chain.undo()),
  tool('redo', 'Redo', null, (chain) => chain.redo()),
]

type Chain = ReturnType<Editor['chain']>

function tool(icon: IconName, label: string, node: string | null, change: (chain: Chain) => Chain): Tool {
  const run = (editor: Editor): void => {
    change(editor.chain().focus()).run()
  }
  return node === null ? { icon, label, run } : { icon, label, run, isOn: (editor) => editor.isActive(node) }
}

const levels = [1, 2, 3] as const

export function Toolbar({ editor }: { readonly editor: Editor }) {
  const on = useEditorState({
    editor,
    selector: ({ editor: now }) => ({
      tools: [...marks, ...blocks].filter(({ isOn }) => isOn?.(now)).map(({ label }) => label),
      level: levels.find((level) => now.isActive('heading', { level })) ?? 0,
      link: now.isActive('link') ? String(now.getAttributes('link')['href'] ?? '') : null,
    }),
  })
  const [address, setAddress] = useState<string | null>(null)
  const buttons = (tools: readonly Tool[]) => (
    <fieldset>
      {tools.map(({ icon, label, isOn, run }) => (
        <button
          key={label}
          type="button"
          className="icon"
          aria-label={label}
          title={label}
          aria-pressed={isOn === undefined ? undefined : on.tools.includes(label)}
          // Or the text would lose its selection before the click.
          onMouseDown={(event) => event.preventDefault()}
          onClick={() => run(editor)}
        >
          <Icon name={icon} />
        </button>
      ))}
    </fieldset>
  )
  const setLink = (href: string): void => {
    const chain = editor.chain().focus().extendMarkRange('link')
    if (href.trim() === '') chain.unsetLink().run()
    else chain.setLink({ href: /^[a-z]+:/i.test(href) ? href : `https://${href}` }).run()
    setAddress(null)
  }
  return (
    <div className="toolbar-place">
      <div className="toolbar" role="toolbar" aria-label="Formatting" onKeyDown={moveFocus}>
        <select
          aria-label="Kind of paragraph"
          value={on.level}
          onChange={(event) => {
            const level = levels.find((one) => one === Number(event.target.value))
            const chain = editor.chain().focus()
            if (level === undefined) chain.setParagraph().run()
            else chain.setHeading({ level }).run()
          }}
        >
          <option value={0}>Text</option>
          <option value={1}>Heading</option>
          <option value={2}>Subheading</option>
          <option value={3}>Small heading</option>
        </select>
        {buttons(marks)}
        <fieldset>
          <button
            type="button"
            className="icon"
            aria-label="Link"
            title="Link"
            aria-pressed={on.link !== null}
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => setAddress(address === null ? (on.link ?? '') : null)}
          >
            <Icon name="link" />
          </button>
        </fieldset>
        {buttons(blocks)}
        {buttons(history)}
      </div>
      {address !== null && (
        <form
          className="link-form"
          onSubmit={(event) => {
            event.preventDefault()
            setLink(address)
          }}
        >
          <input
            // biome-ignore lint/a11y/noAutofocus: it was asked for by the button before it.
            autoFocus
            value={address}
            placeholder="example.org"
            aria-label="Address of the link"
            onChange={(event) => setAddress(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === 'Escape') setAddress(null)
            }}
          />
          <button type="submit" className="button">
            {address.trim() === '' && on.link !== null ? 'Remove link' : 'Set link'}
          </button>
        </form>
      )}
    </div>
  )
}

/** Arrow keys, as in any toolbar. */
function moveFocus(event: KeyboardEvent<HTMLDivElement>): void {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0
  if (step === 0 || event.target instanceof HTMLSelectElement) return
  const all = [...event.currentTarget.querySelectorAll<HTMLElement>('button, select')]
  const at = all.findIndex((one) => one.matches(':focus'))
  all[(at + step + all.length) % all.length]?.focus()
  event.preventDefault()
}
