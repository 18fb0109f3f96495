import Collaboration from '@tiptap/extension-collaboration'
import CollaborationCaret from '@tiptap/extension-collaboration-caret'
import { TaskItem, TaskList } from '@tiptap/extension-list'
import { Placeholder } from '@tiptap/extensions'
import { EditorContent, useEditor } from '@tiptap/react'
import StarterKit from '@tiptap/starter-kit'
import { type ReactNode, useEffect } from 'react'
import type { Awareness } from 'y-protocols/awareness'
import type { Doc } from 'yjs'
import { bodyField } from './content.ts'
import { isPerson, type Person } from './person.ts'
import { Toolbar } from './toolbar.tsx'

interface TextEditorProps {
  readonly doc: Doc
  readonly awareness: Awareness
  readonly person: Person
  readonly isEditable: boolean
  readonly title: ReactNode
}

/** TipTap on the document's `body`. `doc` and `awareness` stay the same for the life of this component. */
export function TextEditor({ doc, awareness, person, isEditable, title }: TextEditorProps) {
  const editor = useEditor({
    // Its style sheet would be inline, which the page's security policy forbids; style/prose.css has it.
    injectCSS: false,
    editable: isEditable,
    extensions: [
      // Undo is Yjs's: only one's own edits, not those of others.
      StarterKit.configure({ undoRedo: false, link: { openOnClick: false, defaultProtocol: 'https' } }),
      TaskList,
      TaskItem.configure({ nested: true }),
      Placeholder.configure({ placeholder: 'Write something …' }),
      Collaboration.configure({ document: doc, field: bodyField }),
      CollaborationCaret.configure({ provider: { awareness }, user: { ...person }, render: caret }),
    ],
    editorProps: {
      attributes: { class: 'prose', 'aria-label': 'Text', role: 'textbox', 'aria-multiline': 'true' },
    },
  })
  useEffect(() => {
    editor.setEditable(isEditable, false)
  }, [editor, isEditable])
  useEffect(() => {
    editor.commands.updateUser({ ...person })
  }, [editor, person])
  return (
    <>
      {isEditable && <Toolbar editor={editor} />}
      <div className="paper">
        {title}
        <EditorContent editor={editor} />
      </div>
    </>
  )
}

/** Another person's caret. What they say of themselves is text, and a colour only if it is one. */
function caret(user: unknown): HTMLElement {
  const { name, color } = isPerson(user) ? user : { name: 'Somebody', color: '#555555' }
  const line = document.createElement('span')
  line.className = 'caret'
  line.style.borderColor = color
  const label = document.createElement('span')
  label.className = 'caret-name'
  label.style.backgroundColor = color
  label.textContent = name
  line.append(label)
  return line
}
